//! The report's page in a real browser.

use crate::shell::{Failure, apt_install, cargo, find_program, run};
use std::path::PathBuf;

/// Names under which distributions install Chromium; the page is drawn by the same engine in each.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the browser tests, and installs Chromium where Debian's packages are and none is there yet.
///
/// # Errors
/// There is no browser and none can be installed, or a test fails.
pub(crate) fn test() -> Result<(), Failure> {
    let browser = match find() {
        Some(browser) => browser,
        None => install()?,
    };
    // One at a time: each starts a browser with several processes of its own.
    let arguments = [
        "test",
        "-p",
        "factory-cli",
        "--test",
        "browser",
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads",
        "1",
    ];
    run(cargo(&arguments).env("KERNEL_FACTORY_BROWSER", browser))
}

fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KERNEL_FACTORY_BROWSER").filter(|name| !name.is_empty()) {
        return Some(named.into());
    }
    find_program(&NAMES, &[])
}

fn install() -> Result<PathBuf, Failure> {
    let help = "there is no Chromium: install one, or name one in `KERNEL_FACTORY_BROWSER`";
    apt_install(&["chromium", "fonts-dejavu-core"], help)?;
    find().ok_or_else(|| Failure::Check(help.to_owned()))
}
