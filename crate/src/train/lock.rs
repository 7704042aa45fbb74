//! One process a run: a lock on the run folder, held by the operating system, which ends with the process however that
//! ends.

// A lock file is no file that is written whole: it is opened as it is, and stays.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::io::system::is_at;

/// The file that is locked. It stays when the run ends: to remove it would let two processes lock two files of one
/// name.
pub(super) const LOCK_FILE: &str = "run.lock";

/// The lock of a run folder, held until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    /// Why the folder cannot be locked, where its file system knows no locks.
    pub(super) missing: Option<String>,
}

/// Who holds a lock, for the message to whoever wants it too.
#[derive(Serialize, Deserialize)]
struct Holder {
    process: u32,
    host: String,
    /// Seconds since 1970 at which it was taken.
    since: u64,
}

impl RunLock {
    /// Locks the folder, which must exist.
    ///
    /// # Errors
    /// When another process holds it, whose number, host and time are named, or the disk refuses.
    pub(super) fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        let unwritable = || format!("cannot write {}", path.display());
        // Not truncated: before it is locked it says who holds it.
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        let mut file = open.open(&path).with_context(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                bail!("{} is in use by {}; one process at a time can write to a run", folder.display(), holder(&text))
            }
            // Some network file systems have none. That is no reason to refuse to train.
            Err(TryLockError::Error(error)) => return Ok(Self { file, missing: Some(error.to_string()) }),
        }
        if !is_at(&file, &path) {
            // Its holder gave up before there was a run, and took the file away.
            return Self::acquire(folder);
        }
        let own = Holder { process: std::process::id(), host: host(), since: now() };
        let text = serde_json::to_string(&own)? + "\n";
        let write = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        write.with_context(unwritable)?;
        Ok(Self { file, missing: None })
    }

    /// Whether another process holds the lock of a folder, as far as its file system knows locks.
    pub(super) fn is_held(folder: &Path) -> bool {
        let path = folder.join(LOCK_FILE);
        // Nobody's who ended by himself: to try that lock too could be in the way of a run that begins now.
        let was_left = fs::metadata(&path).is_ok_and(|file| file.len() > 0);
        was_left && File::open(&path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Whether a folder's lock file is there, from which it is known for a run of ours before anything else is in it.
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(LOCK_FILE).is_file()
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing the file ends the lock; that it was held leaves no trace.
        let _ = self.file.set_len(0);
    }
}

/// The holder in words.
fn holder(text: &str) -> String {
    match serde_json::from_str::<Holder>(text) {
        Ok(Holder { process, host, since }) => {
            let minutes = now().saturating_sub(since) / 60;
            format!("process {process} on {host}, for {minutes} minutes")
        }
        Err(_) => "another process".into(),
    }
}

/// The name of this machine, as far as the system says it.
fn host() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "this machine".into())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
