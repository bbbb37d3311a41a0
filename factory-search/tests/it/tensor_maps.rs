//! What hand-tuned kernels ask of a plan: tensor maps, zeroed scratch, programmatic launches, large clusters.

use factory_search::cases::Cases;
use factory_search::gates::machine::MachineGate;
use factory_search::gates::{self, Subject};
use factory_search::gpu::Gpu;
use factory_search::{Candidate, Gate, Rejection, Tunables};
use factory_spec::{
    Arch, BoundSpec, LaunchPlan, MapBase, MapFill, MapSwizzle, ParamPlan, Scratch, SizeExpr, TensorMapPlan,
    Variant,
};

use crate::kernels::{SCALE, bind, scale, scale_ptx};

const ROWSUM: &str = include_str!("rowsum.ptx");
const TOTAL: &str = include_str!("total.ptx");

/// `OUT` and `SUM` are the output's shape and what it is.
const SPEC: &str = r#"
[kernel]
name = "sums"
[sizes]
m = { min = 1, max = 200 }
n = { min = 4, max = 512, multiple_of = 4 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["m", "n"]
[[arg]]
name = "y"
dtype = "f32"
shape = OUT
role = "out"
[reference]
program = "y = SUM"
[correct]
cases = [{ m = 1, n = 4 }, { m = 8, n = 32 }, { m = 9, n = 36 }, { m = 13, n = 100 }, { m = 67, n = 28 }]
inputs = { x = ["normal", "zeros"] }
[better]
over = [{ m = 100, n = 128 }]
[targets]
arch = ["sm_90"]
"#;

fn rows_spec() -> BoundSpec {
    bind(&SPEC.replace("OUT", "[\"m\"]").replace("SUM", "sum(x, n)"))
}

fn total_spec() -> BoundSpec {
    bind(&SPEC.replace("OUT", "[]").replace("SUM", "sum(sum(x, n), m)"))
}

fn expr(text: &str) -> SizeExpr {
    SizeExpr::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn size(name: &str) -> ParamPlan {
    ParamPlan::Size { value: expr(name), bytes: 4 }
}

fn scratch(name: &str) -> ParamPlan {
    ParamPlan::Scratch { name: name.to_owned() }
}

/// Tiles of 8 rows by 32 columns of `x`, swizzled.
fn map() -> TensorMapPlan {
    TensorMapPlan {
        over: MapBase::Arg("x".to_owned()),
        offset: None,
        element: None,
        dims: vec![expr("n"), expr("m")],
        strides: vec![expr("n * 4")],
        box_dims: vec![expr("32"), expr("8")],
        element_strides: Vec::new(),
        interleave: Default::default(),
        swizzle: MapSwizzle::Bytes128,
        l2_promotion: Default::default(),
        fill: MapFill::Zero,
    }
}

fn rowsum_launch(map: TensorMapPlan, output: ParamPlan) -> LaunchPlan {
    LaunchPlan {
        entry: "rowsum".to_owned(),
        grid: [expr("ceil_div(m, 8)"), expr("1"), expr("1")],
        block: [256, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: expr("0"),
        programmatic: false,
        params: vec![ParamPlan::TensorMap(Box::new(map)), output, size("m"), size("n")],
    }
}

fn candidate(ptx: String, scratch: Vec<Scratch>, launches: Vec<LaunchPlan>) -> Candidate {
    let variant = Variant { name: "tiles".to_owned(), when: expr("1"), alignment: 16, scratch, launches };
    Candidate {
        image: None,
        id: "sums".to_owned(),
        proposer: "test",
        origin: Default::default(),
        tunables: Tunables::new(),
        arch: Arch::Sm90,
        ptx,
        variant,
    }
}

fn rowsum(map: TensorMapPlan) -> Candidate {
    candidate(ROWSUM.to_owned(), Vec::new(), vec![rowsum_launch(map, ParamPlan::pointer("y"))])
}

/// Rows into scratch memory, then all of them into one number, the second launch beginning before the first has ended.
fn total() -> Candidate {
    let buffer =
        |name: &str, bytes: &str, zero: bool| Scratch { name: name.to_owned(), bytes: expr(bytes), zero };
    let buffers = vec![
        buffer("rows", "m * 4", false),
        buffer("part", "ceil_div(m, 32) * 4", false),
        buffer("counter", "4", true),
    ];
    let second = LaunchPlan {
        entry: "total".to_owned(),
        grid: [expr("ceil_div(m, 32)"), expr("1"), expr("1")],
        block: [32, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: expr("0"),
        programmatic: true,
        params: vec![
            scratch("rows"),
            scratch("part"),
            scratch("counter"),
            ParamPlan::pointer("y"),
            size("m"),
        ],
    };
    let ptx = format!("{ROWSUM}{TOTAL}").replace("// LEAD", "griddepcontrol.launch_dependents;");
    candidate(ptx, buffers, vec![rowsum_launch(map(), scratch("rows")), second])
}

fn judge(spec: &BoundSpec, candidate: &Candidate) -> Result<u32, Rejection> {
    let subject = Subject::from(candidate);
    let module = gates::parse::parse(spec, &subject)?;
    gates::policy::policy(&module, &spec.better.allow)?;
    let cases = Cases::draw(spec, 7, &spec.better.over);
    let gate = MachineGate::new(spec, subject, &module, 7)?;
    gate.run_all(&cases, &cases.served(spec, &candidate.variant), 1)
}

fn passes(spec: &BoundSpec, candidate: &Candidate) {
    let cases = judge(spec, candidate).unwrap_or_else(|rejection| panic!("{rejection}"));
    assert!(cases >= 5, "{cases}");
}

/// The gate that refuses it, and why.
fn refused(spec: &BoundSpec, candidate: &Candidate) -> (Gate, String) {
    match judge(spec, candidate) {
        Err(rejection) => (rejection.gate, rejection.to_string()),
        Ok(cases) => panic!("it passed {cases} cases"),
    }
}

fn assert_refused(spec: &BoundSpec, candidate: &Candidate, gate: Gate, words: &str) {
    let (found, message) = refused(spec, candidate);
    assert!(found == gate && message.contains(words), "{found:?}: {message}");
}

#[test]
fn swizzled_tiles_are_filled_with_zero_at_ragged_ends() {
    passes(&rows_spec(), &rowsum(map()));
}

#[test]
fn a_map_with_another_fill_or_stride_gives_other_numbers() {
    let spec = rows_spec();
    // NaN outside shows where a row ends within a tile.
    assert_refused(&spec, &rowsum(TensorMapPlan { fill: MapFill::Nan, ..map() }), Gate::Machine, "NaN");
    // Every other row, as if there were half as many.
    let strided = TensorMapPlan {
        dims: vec![expr("n"), expr("ceil_div(m, 2)")],
        strides: vec![expr("n * 8")],
        ..map()
    };
    assert_eq!(refused(&spec, &rowsum(strided)).0, Gate::Machine);
    // As many bytes in another order.
    let narrow =
        TensorMapPlan { box_dims: vec![expr("8"), expr("32")], swizzle: MapSwizzle::Bytes32, ..map() };
    assert_eq!(refused(&spec, &rowsum(narrow)).0, Gate::Machine);
}

#[test]
fn a_map_reaches_no_further_than_its_buffer() {
    let long = TensorMapPlan { dims: vec![expr("n"), expr("m + 1")], ..map() };
    assert_refused(&rows_spec(), &rowsum(long), Gate::Machine, "bytes into a buffer of");
    let narrow = TensorMapPlan { strides: vec![expr("n * 4 + 8")], ..map() };
    assert_refused(&rows_spec(), &rowsum(narrow), Gate::Machine, "must be a multiple of 16");
}

#[test]
fn a_map_parameter_is_aligned_and_128_bytes_long() {
    let spec = rows_spec();
    for declared in [".param .b8 map[128]", ".param .align 64 .b8 map[64]", ".param .u64 map"] {
        let mut wrong = rowsum(map());
        wrong.ptx = wrong.ptx.replace(".param .align 64 .b8 map[128]", declared);
        assert_refused(&spec, &wrong, Gate::Parse, "a tensor map over `x` (.align 64 .b8[128])");
    }
    let mut aligned = rowsum(map());
    aligned.ptx = aligned.ptx.replace(".align 64", ".align 128");
    passes(&spec, &aligned);
}

#[test]
fn two_launches_with_a_counter_that_begins_at_zero() {
    passes(&total_spec(), &total());
}

#[test]
fn a_counter_that_nobody_sets_to_zero_is_refused() {
    let mut candidate = total();
    candidate.variant.scratch[2].zero = false;
    assert_refused(&total_spec(), &candidate, Gate::Machine, "nobody wrote");
}

#[test]
fn programmatic_launches_stay_within_the_variant() {
    let spec = total_spec();
    let mut never_waits = total();
    never_waits.ptx = never_waits.ptx.replace("griddepcontrol.wait;", "");
    assert_refused(&spec, &never_waits, Gate::Policy, "has no `griddepcontrol.wait`");
    // Nobody of the plan follows the last launch.
    let mut leads = total();
    leads.ptx = leads
        .ptx
        .replace("griddepcontrol.wait;", "griddepcontrol.wait;\n    griddepcontrol.launch_dependents;");
    assert_refused(&spec, &leads, Gate::Policy, "past the end");
    let mut in_turn = total();
    in_turn.variant.launches[1].programmatic = false;
    assert_refused(&spec, &in_turn, Gate::Policy, "past the end");
    in_turn.ptx = in_turn.ptx.replace("griddepcontrol.launch_dependents;", "");
    passes(&spec, &in_turn);
}

/// The scale kernel in clusters of so many blocks, at sizes that are whole clusters of 16.
fn clustered(blocks: u32) -> (BoundSpec, Candidate) {
    let cases = "[{ n = 1 }, { n = 255 }, { n = 256 }, { n = 257 }, { n = 1000 }]";
    let whole = SCALE
        .replace("n = { min = 1,", "n = { min = 4096, multiple_of = 4096,")
        .replace(cases, "[{ n = 4096 }, { n = 8192 }, { n = 12288 }, { n = 16384 }, { n = 20480 }]");
    let mut candidate = scale(scale_ptx("", "", ""));
    candidate.variant.launches[0].cluster = [blocks, 1, 1];
    (bind(&whole), candidate)
}

#[test]
fn clusters_of_sixteen_are_let_through_and_no_more() {
    let (spec, candidate) = clustered(16);
    passes(&spec, &candidate);
    let (spec, candidate) = clustered(32);
    assert_refused(&spec, &candidate, Gate::Parse, "blocks of a cluster is 32, the limit is 16");
}

/// The device gate on GPU 0, where there is one: maps encoded by the driver, a memset before the first launch, the launch
/// attribute of the second, clusters that need asking.
#[test]
fn a_gpu_agrees() {
    let mut gpu = match Gpu::open(0) {
        Ok(gpu) => gpu,
        Err(error) => return eprintln!("skipped on a GPU: {error}"),
    };
    for (spec, candidate) in [(rows_spec(), rowsum(map())), (total_spec(), total())] {
        let cases = Cases::draw(&spec, 7, &spec.better.over);
        let checked = gpu.check(&spec, &cases, &candidate).unwrap_or_else(|rejection| panic!("{rejection}"));
        assert!(checked.cases >= 5, "{checked}");
    }
    let (spec, candidate) = clustered(16);
    let cases = Cases::draw(&spec, 7, &spec.better.over);
    gpu.check(&spec, &cases, &candidate).unwrap_or_else(|rejection| panic!("{rejection}"));
}
