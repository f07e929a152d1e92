//! What a service's binary can be told on its command line. Everything else comes from the environment.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::Service;

const AFTER_HELP: &str = "\
Configuration is by environment variables, for a service as for `migrate`; a start with wrong ones lists them all. They \
are described in docs/operations.md, and beside the code that reads them: libs/runtime/src/base.rs and the service's \
own src/config.rs.

Exit codes: 0 ended as told, 1 a part failed or draining took too long, 2 wrong arguments or configuration, 3 could not \
start or could not migrate.";

/// The version of the workspace.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Parser)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the schema of the service's database up to date, and end. Without a command the service serves.
    ///
    /// Needs TAEL_DATABASE_URL, with a role that may create tables, and nothing else; waits for the database as long
    /// as TAEL_START_PATIENCE says. Harmless when there is nothing to do, and when several do it at once.
    Migrate {
        /// Then give this role the rights that the service needs to run, and no others.
        ///
        /// The service runs as that role with TAEL_MIGRATE_AT_START=false. The role must exist.
        #[arg(long, value_name = "ROLE", env = "TAEL_RUNTIME_ROLE")]
        grant_to: Option<String>,
    },
}

/// Reads the command line; ends the process when it is answered with that (`--help`, `--version`), or wrong.
pub(crate) fn parse<S: Service>(commit: Option<&str>) -> Arguments {
    let matches = command::<S>(commit).get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn command<S: Service>(commit: Option<&str>) -> clap::Command {
    Arguments::command()
        .name(format!("tael-{}", S::NAME))
        .about(format!("Tael's {} service", S::NAME))
        .version(version(commit))
}

/// The version and the commit that a binary was built from, as `--version` tells them: `0.1.0 (abc1234)`.
pub fn version(commit: Option<&str>) -> String {
    format!("{VERSION} ({})", known(commit))
}

/// A commit's name, of which an image that was built without one has an empty one.
pub(crate) fn known(commit: Option<&str>) -> &str {
    commit.filter(|commit| !commit.is_empty()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_the_commit_or_that_nobody_told_it() {
        let version_of = env!("CARGO_PKG_VERSION");
        assert_eq!(version(Some("abc1234")), format!("{version_of} (abc1234)"));
        for none in [None, Some("")] {
            assert_eq!(version(none), format!("{version_of} (unknown)"));
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
