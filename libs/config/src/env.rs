use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::duration;
use crate::error::{ConfigErrors, Problem};

/// A set of environment variables, and the problems found while reading them.
///
/// The problems stay for as long as the `Env` lives, so several configurations read from one `Env`, each ending in
/// [`Env::finish`], can be put together by one more `finish` that reports the problems of all of them.
pub struct Env {
    variables: HashMap<OsString, OsString>,
    asked: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Env {
    /// The variables of this process.
    pub fn from_process() -> Env {
        Env { variables: std::env::vars_os().collect(), asked: BTreeSet::new(), problems: Vec::new() }
    }

    /// The given variables and no others.
    pub fn from_map(variables: impl IntoIterator<Item = (String, String)>) -> Env {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Env { variables, asked: BTreeSet::new(), problems: Vec::new() }
    }

    /// The value of a variable that must be set. `None` after noting that it is absent or does not parse.
    ///
    /// The value is shown when it does not parse; use [`Env::secret`] for what must not be seen.
    pub fn required<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text = self.present(name)?;
        self.parse(name, text)
    }

    /// The value of a variable that may be absent. `None` also after noting that it does not parse.
    pub fn optional<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text = self.lookup(name)?;
        self.parse(name, text)
    }

    /// The value of a variable, or `default` when it is absent; also `default` after noting that it does not parse.
    pub fn or<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.optional(name).unwrap_or(default)
    }

    /// A switch: `true` or `1`, `false` or `0`; `default` when absent.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.lookup(name) else { return default };
        match text.as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => {
                self.reject(name, text, "expected true, 1, false or 0");
                default
            }
        }
    }

    /// A length of time: a whole number and its unit, `250ms`, `5s`, `2m` or `1h`; `default` when absent.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.lookup(name) else { return default };
        duration::parse(&text).unwrap_or_else(|| {
            self.reject(name, text, "expected a whole number and a unit, such as 250ms, 5s, 2m or 1h");
            default
        })
    }

    /// A secret that must be set. `None` after noting that it is absent.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.present(name).map(SecretString::from)
    }

    /// A secret that must be set and must parse, such as a keyring. `None` after noting that it is absent or why it
    /// does not parse. The value is never shown; nor may the error of `T` show it.
    pub fn secret_as<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text = self.present(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(Problem::InvalidSecret { name: name.to_owned(), reason: error.to_string() });
                None
            }
        }
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, name: &str) -> Option<SecretString> {
        self.lookup(name).map(SecretString::from)
    }

    /// The value made by `build`, unless a problem was noted: then all of them, and `build` is not called.
    ///
    /// `build` answers `None` only when a required value is missing, which was noted when it was read; the `?` on
    /// those values is what makes the call read well.
    pub fn finish<T>(&self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigErrors> {
        if !self.problems.is_empty() {
            return Err(ConfigErrors(self.problems.clone()));
        }
        build().ok_or_else(|| ConfigErrors(vec![Problem::Incomplete]))
    }

    /// The names of the variables that are there and were never asked for, sorted.
    ///
    /// Among a process's own variables those are most; among the ones that a manifest sets, each is a mistake: a
    /// setting that nobody reads.
    pub fn unread(&self) -> Vec<String> {
        let names = self.variables.keys().map(|name| name.to_string_lossy().into_owned());
        let unread: BTreeSet<_> = names.filter(|name| !self.asked.contains(name)).collect();
        unread.into_iter().collect()
    }

    fn parse<T>(&mut self, name: &str, text: String) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.reject(name, text, &error.to_string());
                None
            }
        }
    }

    fn present(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        if self.variables.get(OsStr::new(name)).is_none_or(|value| value.is_empty()) {
            self.note(Problem::Missing { name: name.to_owned() });
            return None;
        }
        // Set but unreadable is noted here, and is not called missing as well.
        self.lookup(name)
    }

    /// `None` when absent or empty, and after noting that the value is not UTF-8.
    fn lookup(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        let value = self.variables.get(OsStr::new(name)).filter(|value| !value.is_empty())?;
        if let Some(text) = value.to_str() {
            return Some(text.to_owned());
        }
        self.note(Problem::NotUnicode { name: name.to_owned() });
        None
    }

    fn reject(&mut self, name: &str, value: String, reason: &str) {
        self.note(Problem::Invalid { name: name.to_owned(), value, reason: reason.to_owned() });
    }

    /// A variable that several services read is reported once.
    fn note(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Shows the names only: values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.variables.keys().collect();
        names.sort_unstable();
        f.debug_struct("Env").field("names", &names).field("problems", &self.problems).finish_non_exhaustive()
    }
}
