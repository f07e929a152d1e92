//! In which language a buyer is spoken to.

/// A language that the page is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Chinese, simplified.
    ZhCn,
    /// English.
    En,
}

impl Language {
    /// Takes the one asked for, else the one that the browser likes best (RFC 9110, section 12.5.4), else English.
    pub(crate) fn choose(asked: Option<&str>, accepted: Option<&str>) -> Self {
        asked.and_then(Self::of_tag).or_else(|| accepted.and_then(Self::accepted)).unwrap_or(Self::En)
    }

    /// The language's tag (BCP 47).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::ZhCn => "zh-CN",
            Self::En => "en",
        }
    }

    /// All kinds of Chinese are served with simplified characters, all kinds of English with one.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or(tag);
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::ZhCn)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::En)
        } else {
            None
        }
    }

    fn accepted(header: &str) -> Option<Self> {
        let mut best = None;
        for range in header.split(',') {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
            let Some(language) = Self::of_tag(tag.trim()) else { continue };
            let weight = thousandths(parameter.trim());
            // The first of equals wins, as browsers mean it.
            if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

/// Reads a weight such as "q=0.8"; zero, which is "not acceptable", when it is malformed.
fn thousandths(parameter: &str) -> u32 {
    let Some(weight) = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")) else {
        return 0;
    };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !matches!(whole, "0" | "1") {
        return 0;
    }
    format!("{whole}{fraction:0<3}").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_s_favourite_is_taken() {
        let choose = |header| Language::choose(None, Some(header));
        assert_eq!(choose("zh-CN,zh;q=0.9,en;q=0.8"), Language::ZhCn);
        assert_eq!(choose("en-GB,en;q=0.9,zh;q=0.8"), Language::En);
        assert_eq!(choose("de-DE, de;q=0.9, zh-TW;q=0.7, en;q=0.6"), Language::ZhCn);
        assert_eq!(choose("en;q=0.5, zh;q=0.501"), Language::ZhCn);
        assert_eq!(choose("zh;q=0, en;q=0.1"), Language::En);
        assert_eq!(choose("ZH-hans"), Language::ZhCn);
        assert_eq!(choose("en, zh"), Language::En);
    }

    #[test]
    fn what_nobody_speaks_becomes_english() {
        for header in ["", "*", "de", "zh;q=0", "zh;q=2", "zh;q=0.0001", "zh;quality", ";;,,=", "zhuang"] {
            assert_eq!(Language::choose(None, Some(header)), Language::En, "{header}");
        }
        assert_eq!(Language::choose(None, None), Language::En);
    }

    #[test]
    fn the_one_asked_for_comes_first_if_it_exists() {
        assert_eq!(Language::choose(Some("en"), Some("zh-CN")), Language::En);
        assert_eq!(Language::choose(Some("zh-CN"), Some("en")), Language::ZhCn);
        assert_eq!(Language::choose(Some("fr"), Some("zh-CN")), Language::ZhCn);
    }
}
