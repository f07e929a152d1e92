//! A folder in which a channel keeps what the merchants' systems know it by: its own keys and the registered accounts.
//! With it, a restart of the sandbox leaves channel accounts valid; trades are forgotten all the same.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

/// The folder, or none: then nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct KeyFolder(Option<PathBuf>);

impl KeyFolder {
    /// The folder, made if it is not there; readable by nobody else.
    pub(crate) fn open(folder: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = &folder {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        Ok(Self(folder))
    }

    /// Whether anything is kept at all.
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// What is kept under a name.
    pub fn read(&self, name: &str) -> io::Result<Option<String>> {
        let Some(folder) = &self.0 else { return Ok(None) };
        match fs::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a text under a name, in one step: a crash leaves the old text or the new one.
    pub fn keep(&self, name: &str, text: &str) -> io::Result<()> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let new = folder.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, folder.join(name))
    }
}
