//! What compilers are given, and what they say.

use std::path::Path;

use factory_search::compile::Compiler;
use factory_search::template::{Template, TemplateErrors, TemplateProblem, Templates, TemplatesError};
use factory_search::{OriginKind, Proposer, TunableValue};
use factory_spec::Arch;

use crate::support::{SPEC, TEMPLATE, bind, changed, nvcc, nvrtc};

const PATH: &str = "kernels/scale/scale.cu";

/// What the template's likeliest configuration is refused for.
fn refused(text: &str, compiler: Compiler) -> TemplateErrors {
    let spec = bind(SPEC);
    let template = Template::parse(Path::new(PATH), text).unwrap_or_else(|errors| panic!("{errors}"));
    match Templates::new(&spec, vec![template], compiler) {
        Err(TemplatesError::Template(errors)) => errors,
        other => panic!("{other:?}"),
    }
}

fn both(test: impl Fn(Compiler, &str)) {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(compiler) = nvcc(&folder.path().join("nvcc")) {
        test(compiler, "nvcc");
    }
    if let Some(compiler) = nvrtc(&folder.path().join("nvrtc")) {
        test(compiler, "nvrtc");
    }
}

#[test]
fn the_compilers_message_has_the_templates_lines() {
    let text = changed("x[first + i] * a;", "z[first + i] * a;");
    let line = text.lines().position(|line| line.contains("z[first")).expect("it is there") + 1;
    both(|compiler, name| {
        let errors = refused(&text, compiler);
        let message = errors.to_string();
        assert!(matches!(errors[0].problem(), TemplateProblem::Compile { .. }), "{name}: {message}");
        assert!(message.contains(&format!("{PATH}({line}): error: ")), "{name}: {message}");
        assert!(message.contains("\"z\" is undefined"), "{name}: {message}");
        assert!(message.contains("VEC=4 THREADS=256"), "{name}: {message}");
    });
}

#[test]
fn a_plan_that_disagrees_with_the_entry_is_an_error_at_its_parameter() {
    both(|compiler, name| {
        let errors =
            refused(&changed("\"a\", { u32 = \"n\" }", "{ u32 = \"n\" }, { u64 = \"n\" }"), compiler);
        // The scalar and the size have four bytes both; the last has eight.
        assert_eq!(errors[0].line_column(), Some((12, 36)), "{name}: {errors}");
    });
    both(|compiler, _| {
        let errors = refused(&changed("\"a\", { u32 = \"n\" }", "\"a\""), compiler);
        assert!(
            errors.to_string().contains("parameter 3 is .u32 in the PTX and absent in the plan"),
            "{errors}"
        );
    });
    both(|compiler, _| {
        let errors = refused(&changed("entry = \"scale\"", "entry = \"scales\""), compiler);
        assert_eq!(errors[0].line_column(), Some((9, 9)));
        assert!(errors.to_string().contains("`scales`, which the PTX does not define"), "{errors}");
    });
}

#[test]
fn a_second_search_compiles_nothing() {
    let spec = bind(SPEC);
    both(|compiler, name| {
        let template = || Template::parse(Path::new(PATH), TEMPLATE).expect("it is read");
        let templates = Templates::new(&spec, vec![template()], compiler).unwrap_or_else(|e| panic!("{e}"));
        let proposals = templates.propose(Arch::Sm90, &spec.better.over[0]);
        assert_eq!(proposals.len(), 17);
        let made: Vec<_> =
            proposals.iter().take(3).map(|p| p.make().unwrap_or_else(|e| panic!("{e}"))).collect();
        // The likeliest was compiled when the template was checked.
        assert_eq!(templates.compiler().counts(), (3, 1), "{name}");
        let again: Vec<_> = proposals.iter().take(3).map(|p| p.make().expect("again")).collect();
        assert_eq!(made, again);
        assert_eq!(templates.compiler().counts(), (3, 4), "{name}");
        let origin = &made[0].origin;
        assert_eq!(origin.kind, OriginKind::Template);
        assert!(origin.compiler.as_deref().is_some_and(|compiler| compiler.starts_with(name)), "{origin:?}");
        assert_eq!(origin.flags, ["-arch=compute_90", "-std=c++17"]);
        assert_eq!(origin.source.as_deref().map(str::len), Some(64));
        assert_eq!(made[0].tunables["VEC"], TunableValue::Integer(4));
        assert_eq!(made[0].id, "scale-VEC4-THREADS256");
    });
}

#[test]
fn the_same_source_gives_the_same_bytes_wherever_it_lies() {
    let spec = bind(SPEC);
    let folder = tempfile::tempdir().expect("a folder");
    let make = |path: &str, cache: &str| {
        let compiler = nvcc(&folder.path().join(cache))?;
        // A helper with internal linkage gets a name that the compiler makes up.
        let text = changed("extern \"C\"", "namespace { __noinline__ __device__ float times(float x, float a) { return x * a; } }\nextern \"C\"")
            .replace("x[first + i] * a", "times(x[first + i], a)");
        let template = Template::parse(Path::new(path), text).expect("it is read");
        let templates = Templates::new(&spec, vec![template], compiler).unwrap_or_else(|e| panic!("{e}"));
        Some(templates.fallback(Arch::Sm90).unwrap_or_else(|e| panic!("{e}")).ptx)
    };
    let first = make("a/scale.cu", "1");
    assert_eq!(first, make("somewhere/else/scale.cu", "2"));
    assert!(first.is_none_or(|ptx| !ptx.contains("/tmp")));
}

#[test]
fn what_is_only_a_fallback_is_not_proposed() {
    let spec = bind(SPEC);
    both(|compiler, name| {
        let text = changed("fallback = true", "fallback = \"only\"");
        let template = Template::parse(Path::new(PATH), text).unwrap_or_else(|errors| panic!("{errors}"));
        let templates =
            Templates::new(&spec, vec![template], compiler).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(templates.propose(Arch::Sm90, &spec.better.over[0]).is_empty());
        assert!(templates.fallback(Arch::Sm90).is_ok(), "{name}");
    });
}

#[test]
fn cpp_templates_words_types_and_baked_sizes_reach_the_source() {
    let spec = bind(SPEC);
    let text = "/*kernel_factory
bake = [\"n\"]
types = { T = \"x\" }
when = \"n % VEC == 0\"
[tunables]
VEC = [4, 2]
ORDER = [\"up\", \"down\"]
[[launch]]
entry = \"inner::scale<VEC, T>\"
grid = [\"ceil_div(n, VEC * 128)\"]
block = 128
params = [\"x\", \"y\", \"a\"]
*/
namespace inner {
template <int V, typename E> __global__ void scale(const E* x, E* y, E a) {
    static_assert(SIZE_n == 65536, \"baked\");
#if ORDER_up
    const int first = (blockIdx.x * 128 + threadIdx.x) * V;
#elif ORDER_down
    const int first = SIZE_n - V - (blockIdx.x * 128 + threadIdx.x) * V;
#endif
    for (int i = 0; i < V; ++i) y[first + i] = x[first + i] * a;
}
}
";
    both(|compiler, name| {
        let template = Template::parse(Path::new(PATH), text).unwrap_or_else(|errors| panic!("{errors}"));
        let templates =
            Templates::new(&spec, vec![template], compiler).unwrap_or_else(|e| panic!("{name}: {e}"));
        let proposals = templates.propose(Arch::Sm90, &spec.better.over[0]);
        let made: Vec<_> =
            proposals.iter().map(|p| p.make().unwrap_or_else(|e| panic!("{name}: {e}"))).collect();
        assert_eq!(made.len(), 4);
        assert_eq!(made[0].id, "scale-VEC4-ORDERup-n65536");
        assert_eq!(made[0].variant.when.to_string(), "n == 65536");
        assert_eq!(made[0].variant.launches[0].grid[0].to_string(), "128");
        assert!(
            made[0].variant.launches[0].entry.starts_with("_ZN5inner5scale"),
            "{}",
            made[0].variant.launches[0].entry
        );
        assert!(templates.fallback(Arch::Sm90).is_err());
    });
}
