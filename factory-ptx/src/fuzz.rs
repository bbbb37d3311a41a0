//! Bodies of the fuzz targets, in the library so that an ordinary test runs them too.

use crate::{check, parse};

/// Parses, checks and prints whatever the bytes hold.
///
/// # Panics
/// When a text that was read does not come back equal from its printed form: that is the property under test.
pub fn parse_any(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text) {
        Ok(module) => {
            if let Err(errors) = check(&module) {
                for error in errors {
                    let _ = error.render(&text);
                }
            }
            let printed = module.to_string();
            match parse(&printed) {
                Ok(again) => assert!(again == module, "printing changed the module:\n{printed}"),
                Err(errors) => panic!("what was printed does not parse: {errors}\n{printed}"),
            }
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty(), "an error without a reason");
            let _ = errors.to_string();
        }
    }
}
