//! Prints the PTX and the plan of one of the generator's candidates, as text.
//!
//! ```sh
//! cargo run -p factory-search --example show_candidate -- examples/rmsnorm/kernels/rmsnorm.toml m=32768,n=4096 v8_t32_r2_c16
//! ```
//! Every configuration whose name begins with the third argument is listed; the first is printed.

use std::collections::BTreeMap;
use std::path::Path;

use factory_search::generator::Space;
use factory_spec::{Arch, Spec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [spec, sizes, name] = arguments.as_slice() else {
        return Err("usage: show_candidate SPEC SIZE=VALUE,… NAME".into());
    };
    let spec = Spec::read(Path::new(spec))?.bind(&BTreeMap::new())?;
    let mut free = BTreeMap::new();
    for part in sizes.split(',') {
        let (size, value) = part.split_once('=').ok_or("sizes are written as m=3,n=8")?;
        free.insert(size.to_owned(), value.parse()?);
    }
    let over = spec.size_values(&free)?;
    let arch = Arch::parse("sm_90").ok_or("sm_90 is an architecture")?;
    let space = Space::new(&spec)?;
    let mut printed = false;
    for config in space.configurations(arch, &over) {
        let candidate = space.generate(&config, arch)?;
        if !candidate.id.starts_with(name.as_str()) {
            continue;
        }
        eprintln!("{}", candidate.id);
        if !printed {
            println!("{}", candidate.ptx);
            eprintln!("{:#?}", candidate.variant);
            printed = true;
        }
    }
    if printed { Ok(()) } else { Err("no configuration has that name".into()) }
}
