//! What a channel shows to the payer as the thing that is bought.

/// The longest subject that Alipay takes, in characters.
const MAX_CHARS: usize = 256;

/// Makes the subject from the names of an order's lines: the first one's, and how many more there are.
///
/// Control characters and `/`, `=` and `&` become spaces: Alipay forbids them in a subject.
pub(crate) fn subject(names: &[&str], fallback: &str) -> String {
    let first = names.first().map(|name| clean(name)).filter(|name| !name.is_empty());
    let first = first.unwrap_or_else(|| clean(fallback));
    let more = match names.len() {
        0 | 1 => String::new(),
        count => format!(" +{}", count - 1),
    };
    let room = MAX_CHARS - more.chars().count();
    let mut subject: String = first.chars().take(room).collect();
    subject.truncate(subject.trim_end().len());
    subject + &more
}

fn clean(name: &str) -> String {
    let spaced: String =
        name.chars().map(|c| if c.is_control() || matches!(c, '/' | '=' | '&') { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_short_and_clean() {
        assert_eq!(subject(&["龙井茶 100g"], "x"), "龙井茶 100g");
        assert_eq!(subject(&["Tea & cups/set\n=1", "Pot", "Tray"], "x"), "Tea cups set 1 +2");
        assert_eq!(subject(&["&&"], "ord_1"), "ord_1");
        assert_eq!(subject(&[], "ord_1"), "ord_1");
        let long = "茶".repeat(300);
        assert_eq!(subject(&[&long, "b"], "x").chars().count(), 256);
    }
}
