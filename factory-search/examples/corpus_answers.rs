//! Runs programs of the corpus on a GPU: `corpus_answers FOLDER program…`.
//!
//! A program is a CUDA C++ source with its PTX beside it, or a PTX file that describes its own runs. What comes out of
//! arguments that a run line calls `recorded` is written to `FOLDER/<program>.answers`; everything else is compared with
//! what the line says. Runs that must fault are left out, since a GPU does not tell. One program a process is best: a
//! fault loses the context, and a kernel that never ends can then be killed alone.

use std::error::Error;
use std::path::Path;

use factory_ptx::corpus::{Answers, Role, Run, TensorMapSpec, fnv, runs};
use factory_search::gpu::{Gpu, Packed, TensorMapShape};

fn tensor_map(gpu: &Gpu, spec: &TensorMapSpec, address: u64) -> Result<[u8; 128], String> {
    let element = spec.element.ok_or("a tensor map without a type")?;
    let shape = TensorMapShape {
        element: element.driver_code(),
        dims: &spec.dims,
        strides: &spec.strides,
        box_dims: &spec.box_dims,
        steps: &spec.steps,
        interleave: spec.interleave,
        swizzle: spec.swizzle,
        nan_fill: spec.nan_fill,
    };
    gpu.tensor_map(&shape, address)
}

fn play(gpu: &Gpu, ptx: &str, first: &str, case: &Run) -> Result<Vec<Vec<u8>>, String> {
    let mut bytes: Vec<Vec<u8>> = case.arguments.iter().map(|argument| argument.before.clone()).collect();
    for (argument, bytes) in case.arguments.iter().zip(&mut bytes) {
        if argument.role == Role::Out {
            bytes.fill(0xcd);
        }
    }
    let launch = Packed {
        ptx,
        entry: case.entry.as_deref().unwrap_or(first),
        grid: case.grid,
        block: case.block,
        cluster: case.cluster,
        shared_bytes: case.shared_bytes,
    };
    gpu.run_packed(&launch, &mut bytes, |addresses| {
        case.values(addresses, |spec, address| tensor_map(gpu, spec, address))
    })?;
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("corpus_answers FOLDER program…")?;
    std::fs::create_dir_all(&folder)?;
    let mut gpu = None;
    for source in words {
        let path = Path::new(&source);
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let cases = runs(&std::fs::read_to_string(path)?)?;
        let ptx = std::fs::read_to_string(path.with_extension("ptx"))?;
        let module = factory_ptx::parse(&ptx)?;
        let first = module.entries().next().map(|entry| entry.name.clone()).unwrap_or_default();
        let gpu = match &mut gpu {
            Some(gpu) => gpu,
            None => gpu.insert(Gpu::open(0)?),
        };
        let mut answers = Answers {
            device: format!("{}, driver {}", gpu.name(), gpu.driver()),
            program: fnv(ptx.as_bytes()),
            answers: Vec::new(),
        };
        for (index, case) in cases.iter().enumerate().filter(|(_, case)| case.fault.is_none()) {
            match play(gpu, &ptx, &first, case) {
                Ok(bytes) => {
                    println!("{name}:{} ran", case.line);
                    for (argument, bytes) in case.arguments.iter().zip(&bytes) {
                        if argument.recorded {
                            answers.add(index, case, argument, bytes);
                        }
                        if let Some(difference) = argument.difference(bytes) {
                            println!("{name}:{} DIFFERS: {difference}", case.line);
                        }
                    }
                }
                Err(error) => {
                    println!("{name}:{} FAILED: {error}", case.line);
                    gpu.reopen()?;
                }
            }
        }
        if !answers.answers.is_empty() {
            std::fs::write(Path::new(&folder).join(format!("{name}.answers")), answers.write(&cases))?;
        }
    }
    Ok(())
}
