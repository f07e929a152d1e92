//! Reading environment variables, with all errors collected.

/// Variables and what was found wrong with them.
pub(crate) struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    /// One line per bad variable, without its value, which may be a secret.
    pub(crate) errors: Vec<String>,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, errors: Vec::new() }
    }

    /// The parsed variable; `None` if it is not set or bad, which is noted with what was `wanted`.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = (self.lookup)(name).filter(|text| !text.trim().is_empty())?;
        let parsed = parse(text.trim());
        if parsed.is_none() {
            self.errors.push(format!("{name} must be {wanted}"));
        }
        parsed
    }
}
