//! How long a build script takes with 1 and with 200 sealed kernels: `cargo run -p factory-build --example build_bench`.
//!
//! The kernel is the sealed one of `examples/rmsnorm`; for 200, so many specs that differ by a constant share its code.
//!
//! Users compile build scripts without optimisation unless they say otherwise. For their numbers in this workspace, which
//! says otherwise, there is a profile: `cargo run --profile unoptimised -p factory-build --example build_bench`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use factory_build::{Factory, Origin};
use factory_spec::{BoundSpec, Lock, LockEntry, Sealed, Spec};

/// The package whose kernel is measured.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/rmsnorm");

/// What the example says its signature is.
const SIGNATURE: &str = "
#[kernel_factory(spec = \"kernels/@.toml\")]
pub fn @(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, eps: f32);
";

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>8}  {:>12}  {:>12}  {:>9}", "kernels", "first build", "next builds", "target");
    for (kernels, target) in [(1, 30), (200, 1000)] {
        let folder =
            std::env::temp_dir().join(format!("kernel-factory-bench-{}-{kernels}", std::process::id()));
        let result = measure(&folder, kernels);
        fs::remove_dir_all(&folder)?;
        let (first, next) = result?;
        println!(
            "{kernels:>8}  {:>9.1} ms  {:>9.1} ms  {target:>6} ms",
            milliseconds(first),
            milliseconds(next)
        );
    }
    Ok(())
}

/// The first build, which writes `OUT_DIR`, and the median of later ones, which find it written.
fn measure(folder: &Path, kernels: usize) -> Result<(Duration, Duration), Box<dyn Error>> {
    write_package(folder, kernels)?;
    let first = build(folder, kernels)?;
    let mut next = (0..9).map(|_| build(folder, kernels)).collect::<Result<Vec<_>, _>>()?;
    next.sort();
    Ok((first, next[next.len() / 2]))
}

fn build(folder: &Path, kernels: usize) -> Result<Duration, Box<dyn Error>> {
    let factory = Factory::new()
        .package_dir(folder)
        .out_dir(folder.join("out"))
        .cache_dir(folder.join("cache"))
        .quiet();
    let start = Instant::now();
    let report = factory.try_compile()?;
    let time = start.elapsed();
    let sealed =
        report.kernels.iter().filter(|kernel| matches!(kernel.origin, Origin::Sealed { .. })).count();
    if sealed == kernels { Ok(time) } else { Err(format!("{sealed} kernels of {kernels} were built").into()) }
}

/// A package whose kernels are all in one source.
fn write_package(folder: &Path, kernels: usize) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(Path::new(EXAMPLE).join("kernels/rmsnorm.toml"))?;
    let spec = bound(&text)?;
    let folder_of = |spec: &BoundSpec| Path::new("kernels").join(&spec.name).join(spec.key().short());
    let sealed = Sealed::read(&Path::new(EXAMPLE).join(folder_of(&spec)))?;
    let mut source = "use factory_runtime::{Tensor, bf16, kernel_factory};\n".to_owned();
    let mut lock = Lock::default();
    fs::create_dir_all(folder.join("src"))?;
    fs::create_dir_all(folder.join("out"))?;
    for index in 0..kernels {
        let name = format!("rmsnorm_{index}");
        let text = text
            .replace("\"rmsnorm\"", &format!("\"{name}\""))
            .replace("(ms + eps)", &format!("(ms + eps + {index})"));
        let spec = bound(&text)?;
        let mut certificate = sealed.certificate.clone();
        certificate.name.clone_from(&name);
        certificate.key = spec.key();
        certificate.meaning = spec.meaning();
        certificate.spec = spec.canonical();
        let sealed = Sealed::new(sealed.plan.clone(), certificate, sealed.ptx.clone());
        let sealed_folder = folder.join(folder_of(&spec));
        fs::create_dir_all(&sealed_folder)?;
        fs::write(folder.join("kernels").join(format!("{name}.toml")), &text)?;
        for (file, text) in sealed.files() {
            fs::write(sealed_folder.join(file), text)?;
        }
        lock.insert(LockEntry::of(&sealed));
        write!(source, "{}", SIGNATURE.replace('@', &name))?;
    }
    fs::write(folder.join("kernels").join(Lock::FILE), lock.print())?;
    fs::write(folder.join("src/lib.rs"), source)?;
    Ok(())
}

fn bound(text: &str) -> Result<BoundSpec, Box<dyn Error>> {
    Ok(Spec::parse(Path::new("rmsnorm.toml"), text)?.bind(&BTreeMap::new())?)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
