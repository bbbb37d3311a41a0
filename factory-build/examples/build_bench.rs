//! How long a build script takes with 1 and with 200 sealed kernels: `cargo run -p factory-build --example build_bench`.
//!
//! Users compile build scripts without optimisation unless they say otherwise; to see their numbers in this workspace,
//! which says otherwise, run
//! `cargo --config 'profile.dev.opt-level=0' --config 'profile.dev.package.factory-spec.opt-level=0' run -p factory-build
//! --example build_bench --target-dir target/bench`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use factory_build::{Factory, Origin};
use factory_spec::{Lock, LockEntry, Sealed};

#[path = "../../tests/src/fixture.rs"]
#[expect(unreachable_pub, reason = "it is public where it lives, among the end-to-end tests")]
mod fixture;

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

/// A package whose kernels differ by a constant, all in one source.
fn write_package(folder: &Path, kernels: usize) -> Result<(), Box<dyn Error>> {
    let mut source = "use factory_runtime::{Tensor, kernel_factory};\n".to_owned();
    let mut lock = Lock::default();
    fs::create_dir_all(folder.join("src"))?;
    fs::create_dir_all(folder.join("out"))?;
    for index in 0..kernels {
        let name = format!("scale_{index}");
        let spec = fixture::SPEC
            .replace("\"scale\"", &format!("\"{name}\""))
            .replace("x * factor", &format!("x * factor + {index}"));
        let sealed: Sealed = fixture::seal(&fixture::bound(&spec));
        let sealed_folder = folder.join("kernels").join(&name).join(sealed.certificate.key.short());
        fs::create_dir_all(&sealed_folder)?;
        fs::write(folder.join("kernels").join(format!("{name}.toml")), &spec)?;
        for (file, text) in sealed.files() {
            fs::write(sealed_folder.join(file), text)?;
        }
        lock.insert(LockEntry::of(&sealed));
        let function = fixture::FUNCTION
            .replace("scale.toml", &format!("{name}.toml"))
            .replace("fn scale", &format!("fn {name}"));
        write!(source, "{function}")?;
    }
    fs::write(folder.join("kernels").join(Lock::FILE), lock.print())?;
    fs::write(folder.join("src/lib.rs"), source)?;
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
