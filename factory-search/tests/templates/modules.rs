//! What compilers write passes the gates, and goes into one module with others.

use factory_search::template::{Template, Templates};
use factory_search::{Budget, GpuPolicy, PtxasPolicy, SearchOptions, Silent, Verdict, search_with};
use std::path::Path;

use crate::support::{SPEC, bind, changed, nvcc};

/// Two sizes whose winners differ: both modules have a shared array, a table of constants, a helper and the same names.
#[test]
fn winners_with_the_compilers_names_share_a_module() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(compiler) = nvcc(folder.path()) else { return };
    let spec = bind(&SPEC.replace("over = [{ n = 65536 }]", "over = [{ n = 512 }, { n = 65536 }]"));
    let text =
        changed("\"VEC * THREADS <= 2048\"", "\"VEC * THREADS <= 2048\", \"(THREADS <= 64) == (n <= 512)\"")
            .replace("fallback = true\n", "")
            .replace("block = [\"THREADS\"]", "block = [\"THREADS\"]\nshared = \"4 * THREADS\"")
            .replace(
                "extern \"C\" __global__",
                "__constant__ const float ones[4] = {1, 1, 1, 1};
__device__ __noinline__ float times(float x, float a) { return x * a; }
extern \"C\" __global__",
            )
            .replace(
                "if (first >= n) return;",
                "extern __shared__ float pad[];\n    pad[threadIdx.x] = a;\n    if (first >= n) return;",
            )
            .replace("x[first + i] * a", "times(x[first + i], pad[threadIdx.x]) * ones[i & n & 3]");
    let general = changed("spec = \"scale\"", "spec = \"scale\"\nname = \"general\"\nwhen = \"1\"");
    let read =
        |text: &str| Template::parse(Path::new("scale.cu"), text).unwrap_or_else(|errors| panic!("{errors}"));
    let templates =
        Templates::new(&spec, vec![read(&text), read(&general)], compiler).unwrap_or_else(|e| panic!("{e}"));
    let options = SearchOptions {
        budget: Budget { candidates: 4, seconds: None },
        threads: 2,
        ptxas: PtxasPolicy::Find,
        gpu: GpuPolicy::Off,
        ..SearchOptions::default()
    };
    let found =
        search_with(&spec, &options, &templates, &mut Silent).unwrap_or_else(|error| panic!("{error}"));
    for record in &found.candidates {
        assert_eq!(record.verdict, Verdict::Pass, "{}: {:?}", record.id, record.rejection);
    }
    let target = &found.sealed.plan.targets[0];
    let entries: std::collections::BTreeSet<&str> =
        target.variants.iter().map(|variant| variant.launches[0].entry.as_str()).collect();
    assert_eq!(entries.len(), target.variants.len(), "{entries:?}");
    assert!(target.variants.len() >= 2, "{:?}", found.winners);
}
