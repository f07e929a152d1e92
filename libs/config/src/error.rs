use std::fmt;

/// Everything that is wrong with the configuration: at least one problem.
///
/// Displayed as one line per variable, in the order in which they were read. The value of a secret is never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(crate) Vec<Problem>);

impl ConfigErrors {
    /// The problems, in the order in which the variables were read.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong with one variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The variable must be set and is absent or empty.
    #[error("{name} is not set")]
    Missing {
        /// The variable's name.
        name: String,
    },
    /// The variable's value cannot be understood.
    #[error("{name} is {value:?}: {reason}")]
    Invalid {
        /// The variable's name.
        name: String,
        /// The value as it was found. Never that of a secret.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The variable's value, a secret, cannot be understood. It is not shown.
    #[error("{name}: {reason}")]
    InvalidSecret {
        /// The variable's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The variable's value is not UTF-8. The value is not shown: it may be a secret.
    #[error("{name} is not valid UTF-8")]
    NotUnicode {
        /// The variable's name.
        name: String,
    },
    /// The variables are each valid and yet the service could not build its configuration from them.
    #[error("the configuration is incomplete although no variable is missing or invalid")]
    Incomplete,
}
