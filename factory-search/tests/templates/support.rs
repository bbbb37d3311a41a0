//! A small spec, a small template, and the compilers at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use factory_search::compile::{CompileCache, Compiler, Nvcc, Nvrtc};
use factory_search::template::{Template, TemplateErrors};
use factory_search::toolchain::{CudaTools, cuda_tools};
use factory_search::{HostProgram, serve_if_asked};
use factory_spec::{BoundSpec, Spec};

/// `y = x * a` over one size.
pub(crate) const SPEC: &str = r#"
[kernel]
name = "scale"
[sizes]
n = { min = 4, max = 100000, multiple_of = 4 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["n"]
role = "out"
[[arg]]
name = "a"
dtype = "f32"
values = [0.75, -3.0]
[reference]
program = "y = x * a"
[better]
over = [{ n = 65536 }]
[targets]
arch = ["sm_90"]
"#;

/// A template for it. Tests change a line of it.
pub(crate) const TEMPLATE: &str = r#"/*kernel_factory
spec = "scale"
fallback = true
constraints = ["VEC * THREADS <= 2048"]
[tunables]
VEC = [4, 2, 1]
THREADS = { powers = [32, 1024], default = 256 }
[[launch]]
entry = "scale"
grid = ["ceil_div(n, VEC * THREADS)"]
block = ["THREADS"]
params = ["x", "y", "a", { u32 = "n" }]
*/
extern "C" __global__ void __launch_bounds__(THREADS)
scale(const float* x, float* y, float a, unsigned n) {
    const unsigned first = (blockIdx.x * THREADS + threadIdx.x) * VEC;
    if (first >= n) return;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
        y[first + i] = x[first + i] * a;
    }
}
"#;

pub(crate) fn bind(text: &str) -> BoundSpec {
    let spec = Spec::parse(Path::new("test.toml"), text).unwrap_or_else(|error| panic!("{error}"));
    spec.bind(&BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// The template with a piece of text replaced, which must be there.
pub(crate) fn changed(from: &str, to: &str) -> String {
    assert!(TEMPLATE.contains(from), "{from}");
    TEMPLATE.replacen(from, to, 1)
}

/// Reads a template and holds it against the small spec.
pub(crate) fn checked(text: &str) -> Result<Template, TemplateErrors> {
    let template = Template::parse(Path::new("kernels/scale/scale.cu"), text)?;
    template.check(&bind(SPEC))?;
    Ok(template)
}

/// The tools here. CI must have them: a test that lacks its tool fails there.
pub(crate) fn tools() -> Option<CudaTools> {
    let tools = cuda_tools();
    if tools.nvcc.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "no nvcc here: set `KERNEL_FACTORY_NVCC`");
        eprintln!("no nvcc here: skipped");
        return None;
    }
    Some(tools)
}

/// nvcc with a cache of its own.
pub(crate) fn nvcc(cache: &Path) -> Option<Compiler> {
    let nvcc = Nvcc::find(&tools()?).unwrap_or_else(|message| panic!("{message}"));
    Some(Compiler::with_nvcc(nvcc).with_cache(Some(CompileCache::at(cache))))
}

/// NVRTC with a cache of its own, hosted by this program's test `host`.
pub(crate) fn nvrtc(cache: &Path) -> Option<Compiler> {
    let tools = tools()?;
    if tools.nvrtc.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "no NVRTC here: set `KERNEL_FACTORY_NVRTC`");
        eprintln!("no NVRTC here: skipped");
        return None;
    }
    let arguments =
        ["support::host", "--exact", "--nocapture", "--test-threads=1"].map(str::to_owned).to_vec();
    let path = std::env::current_exe().expect("this program has a file");
    let nvrtc =
        Nvrtc::find(&tools, HostProgram { path, arguments }).unwrap_or_else(|message| panic!("{message}"));
    Some(Compiler::with_nvrtc(nvrtc).with_cache(Some(CompileCache::at(cache))))
}

/// Where NVRTC is loaded when this program is started for that; otherwise there is nothing to see here.
#[test]
fn host() {
    // Only then: a process that offers itself here would be started without the arguments that lead to this test.
    if std::env::var_os("KERNEL_FACTORY_NVRTC_CHILD").is_some() {
        serve_if_asked();
    }
}

/// The folder of the example with the real templates.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/templated/kernels")
}
