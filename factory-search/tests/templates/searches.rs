//! Searches with templates, without a GPU.

use std::path::PathBuf;

use factory_search::template::{Template, Templates, beside};
use factory_search::{
    Budget, Event, GpuPolicy, OriginKind, Proposer, Proposers, PtxasPolicy, SearchError, SearchOptions,
    Silent, Verdict, search_with,
};
use factory_spec::{Arch, BoundSpec, Spec};

use crate::support::{SPEC, TEMPLATE, bind, examples, nvcc, nvrtc};

fn options(candidates: usize) -> SearchOptions {
    SearchOptions {
        budget: Budget { candidates, seconds: None },
        threads: 2,
        ptxas: PtxasPolicy::Find,
        gpu: GpuPolicy::Off,
        ..SearchOptions::default()
    }
}

fn example(name: &str) -> (BoundSpec, Vec<PathBuf>) {
    let path = examples().join(format!("{name}.toml"));
    let spec = Spec::read(&path).unwrap_or_else(|errors| panic!("{errors}"));
    let spec = spec.bind(&Default::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let templates = beside(&path, name).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(templates.len(), 1);
    (spec, templates)
}

#[test]
fn the_examples_have_a_thousand_configurations_each() {
    for name in ["rms_norm", "row_sums", "matmul"] {
        let (spec, paths) = example(name);
        let template = Template::read(&paths[0]).unwrap_or_else(|errors| panic!("{errors}"));
        template.check(&spec).unwrap_or_else(|errors| panic!("{errors}"));
        let count = template.configurations(&spec, &spec.better.over[0]);
        // As the example's README has it.
        let stated = std::fs::read_to_string(examples().join("../README.md")).expect("there is one");
        let stated = stated.lines().find(|line| line.contains(name)).unwrap_or_default().replace(',', "");
        assert!(count >= 1000 && stated.contains(&format!("| {count} |")), "{name}: {count}");
    }
}

/// A search of an example with its template alone.
fn searched(name: &str, candidates: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(compiler) = nvrtc(folder.path()) else { return };
    let (spec, paths) = example(name);
    let templates = paths.iter().map(|path| Template::read(path).expect("it is read")).collect();
    let templates = Templates::new(&spec, templates, compiler).unwrap_or_else(|error| panic!("{error}"));
    let found = search_with(&spec, &options(candidates), &templates, &mut Silent)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for record in &found.candidates {
        assert_eq!(record.verdict, Verdict::Pass, "{}: {:?}", record.id, record.rejection);
        assert_eq!(record.origin.kind, OriginKind::Template);
    }
    assert_eq!(found.candidates.len(), candidates * spec.targets.len());
    assert!(found.sealed.certificate.gates_passed().contains(&"machine"));
}

#[test]
fn rms_norm_in_cuda_is_found() {
    searched("rms_norm", 12);
}

#[test]
fn row_sums_in_two_launches_are_found() {
    searched("row_sums", 3);
}

#[test]
fn a_matrix_product_in_mma_is_found() {
    searched("matmul", 6);
}

/// The generator writes no products of matrices: the template is all there is.
#[test]
fn a_spec_that_the_generator_declines_is_searched_with_templates_alone() {
    let (spec, paths) = example("matmul");
    let declined = Proposers::of(&spec, &[], &mut Silent).map(|_| ());
    assert!(matches!(declined, Err(SearchError::Declined { .. })), "{declined:?}");
    let Some(_) = crate::support::tools() else { return };
    let proposers = Proposers::of(&spec, &paths, &mut Silent).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(format!("{proposers:?}"), "[\"template\"]");
    assert!(proposers.propose(Arch::Sm90, &spec.better.over[0]).len() >= 1000);
    assert!(proposers.fallback(Arch::Sm90).is_ok());
}

#[test]
fn templates_are_found_beside_their_spec() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("scale/plain.cu", TEMPLATE);
    write("scale/nameless.cu", &TEMPLATE.replace("spec = \"scale\"\n", ""));
    write("scale/other.cu", "// no template\n");
    write("scale/helper.cuh", TEMPLATE);
    write("beside.cu", TEMPLATE);
    write("stranger.cu", &TEMPLATE.replace("spec = \"scale\"", "spec = \"other\""));
    let found =
        beside(&folder.path().join("scale.toml"), "scale").unwrap_or_else(|errors| panic!("{errors}"));
    let expected = ["beside.cu", "scale/nameless.cu", "scale/plain.cu"].map(|name| folder.path().join(name));
    assert_eq!(found, expected);
    write("scale/plain.cu", &TEMPLATE.replace("fallback", "falback"));
    assert!(beside(&folder.path().join("scale.toml"), "scale").is_err());
}

#[test]
fn generator_and_templates_search_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(compiler) = nvcc(folder.path()) else { return };
    let spec = bind(SPEC);
    let template = Template::parse(std::path::Path::new("scale.cu"), TEMPLATE).expect("it is read");
    let templates = Templates::new(&spec, vec![template], compiler).unwrap_or_else(|error| panic!("{error}"));
    let generator = factory_search::Generator::new(&spec).unwrap_or_else(|error| panic!("{error}"));
    let proposers = Proposers::new(vec![Box::new(generator), Box::new(templates)]);
    let mut considered = 0;
    let found = search_with(&spec, &options(8), &proposers, &mut |event: &Event<'_>| {
        if let Event::Enumerated { arch: Arch::Sm90, considered: count, .. } = event {
            considered = *count;
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(considered, 8);
    for proposer in ["generator", "template"] {
        let of: Vec<_> = found.candidates.iter().filter(|record| record.proposer == proposer).collect();
        assert!(!of.is_empty(), "{proposer}");
        assert!(of.iter().all(|record| record.verdict == Verdict::Pass), "{of:?}");
    }
}

/// A tensor map and a launch that may begin before the one before it has ended.
#[test]
fn tensor_maps_and_dependent_launches_are_planned() {
    let text = r#"/*kernel_factory
spec = "scale"
fallback = true
[tunables]
THREADS = [128, 64, 256]
[[scratch]]
name = "times"
bytes = "4 * n"
[[launch]]
entry = "multiply"
grid = ["ceil_div(n, THREADS)"]
block = ["THREADS"]
params = [{ map = "x", dims = ["n"], strides = [], box = ["THREADS"] }, "times", "a", { u32 = "n" }]
[[launch]]
entry = "move"
grid = ["ceil_div(n, THREADS)"]
block = ["THREADS"]
programmatic = true
params = ["times", "y", { u32 = "n" }]
*/
struct alignas(64) Map { unsigned long long words[16]; };
extern "C" __global__ void multiply(const __grid_constant__ Map map, float* times, float a, unsigned n) {
    __shared__ alignas(128) float tile[THREADS];
    __shared__ alignas(8) unsigned long long barrier;
    const unsigned to = (unsigned)__cvta_generic_to_shared(tile), bar = (unsigned)__cvta_generic_to_shared(&barrier);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(bar) : "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(bar), "r"(4 * THREADS) : "memory");
        asm volatile("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2}], [%3];"
                     ::"r"(to), "l"(&map), "r"(blockIdx.x * THREADS), "r"(bar) : "memory");
    }
    asm volatile("{\n.reg .pred p;\nAGAIN: mbarrier.try_wait.parity.shared.b64 p, [%0], 0;\n@!p bra AGAIN;\n}" ::"r"(bar) : "memory");
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) times[i] = tile[threadIdx.x] * a;
    asm volatile("griddepcontrol.launch_dependents;");
}
extern "C" __global__ void move(const float* times, float* y, unsigned n) {
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (i < n) y[i] = times[i];
}
"#;
    let folder = tempfile::tempdir().expect("a folder");
    let Some(compiler) = nvrtc(folder.path()) else { return };
    let spec = bind(SPEC);
    let template = Template::parse(std::path::Path::new("scale.cu"), text).unwrap_or_else(|e| panic!("{e}"));
    let templates = Templates::new(&spec, vec![template], compiler).unwrap_or_else(|error| panic!("{error}"));
    let found = search_with(&spec, &options(3), &templates, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    for record in &found.candidates {
        assert_eq!(record.verdict, Verdict::Pass, "{}: {:?}", record.id, record.rejection);
    }
    let variant = &found.sealed.plan.targets[0].variants[0];
    assert!(!variant.launches[0].programmatic && variant.launches[1].programmatic);
    assert!(matches!(&variant.launches[0].params[0], factory_spec::ParamPlan::TensorMap(_)));
}
