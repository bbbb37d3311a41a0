//! References in C, where there is a compiler.

use factory_spec::BoundSpec;
use factory_spec::admission::admit;
use factory_spec::oracle::{Inputs, OracleError, evaluate};

use crate::support::sizes;

const SCAN: &str = "
#include <stdint.h>
/* h[i] = decay * h[i-1] + x[i] along n, and the last h of each row */
void scan(const int64_t *sizes, const double *const *in, double *const *out) {
    for (int64_t row = 0; row < sizes[0]; row++) {
        double h = 0;
        for (int64_t i = 0; i < sizes[1]; i++) {
            h = in[1][0] * h + in[0][row * sizes[1] + i];
            out[0][row * sizes[1] + i] = h;
        }
        out[1][row] = h;
    }
}
";

fn spec(source: &str, function: &str) -> BoundSpec {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("scan.c"), source).expect("written");
    let text = format!(
        "[kernel]\nname = \"scan\"\n[sizes]\nm = {{ min = 1 }}\nn = {{ min = 1 }}\n\
         [[arg]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"m\", \"n\"]\n\
         [[arg]]\nname = \"decay\"\ndtype = \"f32\"\nvalues = [0.5, 0.75]\n\
         [[arg]]\nname = \"h\"\ndtype = \"f32\"\nshape = [\"m\", \"n\"]\nrole = \"out\"\n\
         [[arg]]\nname = \"last\"\ndtype = \"f32\"\nshape = [\"m\"]\nrole = \"out\"\n\
         [reference]\nc = \"scan.c\"\nfunction = \"{function}\"\n\
         [better]\nminimize = \"time\"\n[targets]\narch = [\"sm_90\"]\n"
    );
    let path = folder.path().join("scan.toml");
    std::fs::write(&path, text).expect("written");
    factory_spec::Spec::read(&path)
        .and_then(|spec| spec.bind(&Default::default()))
        .unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn run(spec: &BoundSpec) -> Result<Vec<Vec<f64>>, OracleError> {
    let sizes = sizes(spec, &[("m", 2), ("n", 3)]);
    let id = |name: &str| spec.arg_id(name).expect("an argument");
    let inputs = Inputs([(id("x"), vec![1.0, 2.0, 3.0, 4.0, 0.0, 1.0]), (id("decay"), vec![0.5])].into());
    let outputs = evaluate(spec, &sizes, &inputs)?;
    Ok(vec![outputs.get(id("h")).unwrap().to_vec(), outputs.get(id("last")).unwrap().to_vec()])
}

#[test]
fn a_recurrence_is_compiled_and_called() {
    let spec = spec(SCAN, "scan");
    for _ in 0..2 {
        assert_eq!(run(&spec).unwrap(), [vec![1.0, 2.5, 4.25, 4.0, 2.0, 2.0], vec![4.25, 2.0]]);
    }
    let admission = admit(&spec).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(admission.operands, ["x", "decay"]);
}

#[test]
fn what_the_compiler_says_reaches_the_author() {
    let error = run(&spec("void scan(void) { return undefined_name; }", "scan")).unwrap_err().to_string();
    assert!(error.contains("scan.c") && error.contains("undefined_name"), "{error}");
    let error = run(&spec("static int scan(void) { return 1; } int other(void) { return scan(); }", "scan"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no function `scan`"), "{error}");
}
