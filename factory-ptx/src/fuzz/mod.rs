//! Bodies of the fuzz targets, in the library so that an ordinary test runs them too.
//!
//! [`parse_any`], [`decode_any`] and [`run_any`] take any bytes; [`mutated`] makes bytes that are almost a program of
//! the corpus.

mod mutate;
mod random;

use crate::machine::{Kernel, Launch, Memory, Options, run};
use crate::{check, parse};

pub use mutate::mutated;
pub use random::Random;

/// Warp-instructions that [`run_any`] lets a launch take.
const BUDGET: u64 = 2_000;

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

/// Decodes every entry of whatever the bytes hold, checked or not. Returns how many decoded.
pub fn decode_any(bytes: &[u8]) -> usize {
    let Ok(module) = parse(&String::from_utf8_lossy(bytes)) else { return 0 };
    let _ = check(&module);
    module.entries().filter(|entry| Kernel::new(&module, &entry.name).is_ok()).count()
}

/// Runs every entry of whatever the bytes hold, for a few thousand instructions, over buffers of 4 KiB. Returns how many
/// ran to their end.
pub fn run_any(bytes: &[u8]) -> usize {
    let Ok(module) = parse(&String::from_utf8_lossy(bytes)) else { return 0 };
    let mut ended = 0;
    for entry in module.entries() {
        let Ok(kernel) = Kernel::new(&module, &entry.name) else { continue };
        let mut buffers: Vec<Vec<u8>> = kernel.params().iter().map(|_| vec![1; 4096]).collect();
        let mut memory = Memory::new();
        let mut params = vec![0; kernel.params_size()];
        for (param, buffer) in kernel.params().iter().zip(&mut buffers) {
            let place = &mut params[param.offset..param.offset + param.size];
            match param.size {
                8 => place.copy_from_slice(&memory.inout(&param.name, buffer).to_le_bytes()),
                // Some other number, where there is a byte at all.
                size => place.iter_mut().take(1).for_each(|byte| *byte = size as u8),
            }
        }
        let cluster = kernel.required_cluster().unwrap_or([2, 1, 1]);
        let launch = Launch {
            grid: cluster.map(|n| n.saturating_mul(2)),
            block: kernel.required_block().unwrap_or([64, 1, 1]),
            cluster,
            shared_bytes: 4096,
            params,
        };
        let options =
            Options { instruction_budget: BUDGET, seed: bytes.len() as u64 % 3, ..Options::default() };
        match run(&kernel, &launch, &mut memory, &options) {
            Ok(_) => ended += 1,
            Err(stop) => {
                let _ = stop.to_string();
            }
        }
    }
    ended
}
