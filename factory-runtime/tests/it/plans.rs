//! Plans of hand-tuned kernels: tensor maps, zeroed scratch, programmatic launches.

use factory_runtime::{Device, Error, KernelSource, Tensor};
use factory_spec::{
    DType, LaunchPlan, MapBase, MapFill, MapSwizzle, ParamPlan, Role, Scratch, TensorMapPlan,
};

use crate::kernels::{Kernel, arg, devices, expr, free, launch, pointer, size, variant};

/// Two entries: sums of rows by swizzled tensor copies, and the sum of those by the block that arrives last.
fn ptx() -> String {
    let rows = include_str!("../../../factory-search/tests/it/rowsum.ptx");
    let total = include_str!("../../../factory-search/tests/it/total.ptx");
    format!("{rows}{total}").replace("// LEAD", "griddepcontrol.launch_dependents;")
}

fn map(rows: &str) -> ParamPlan {
    ParamPlan::TensorMap(Box::new(TensorMapPlan {
        over: MapBase::Arg("x".to_owned()),
        offset: None,
        element: None,
        dims: vec![expr("n"), expr(rows)],
        strides: vec![expr("n * 4")],
        box_dims: vec![expr("32"), expr("8")],
        element_strides: Vec::new(),
        interleave: Default::default(),
        swizzle: MapSwizzle::Bytes128,
        l2_promotion: Default::default(),
        fill: MapFill::Zero,
    }))
}

/// `total(x, y)` with a tensor map of so many rows.
fn total(rows: &str, change: impl FnOnce(&mut Vec<Scratch>, &mut Vec<LaunchPlan>)) -> &'static KernelSource {
    let scratch = |name: &str| ParamPlan::Scratch { name: name.to_owned() };
    let first =
        launch("rowsum", "ceil_div(m, 8)", 256, vec![map(rows), scratch("rows"), size("m", 4), size("n", 4)]);
    let params = vec![scratch("rows"), scratch("part"), scratch("counter"), pointer("y"), size("m", 4)];
    let mut second = launch("total", "ceil_div(m, 32)", 32, params);
    second.programmatic = true;
    let buffer =
        |name: &str, bytes: &str, zero: bool| Scratch { name: name.to_owned(), bytes: expr(bytes), zero };
    let mut buffers = vec![
        buffer("rows", "m * 4", false),
        buffer("part", "ceil_div(m, 32) * 4", false),
        buffer("counter", "4", true),
    ];
    let mut launches = vec![first, second];
    change(&mut buffers, &mut launches);
    let mut variant = variant("tiles", "1", 16, launches);
    variant.scratch = buffers;
    let args = vec![arg("x", DType::F32, &["m", "n"], Role::In), arg("y", DType::F32, &["one"], Role::Out)];
    let sizes = vec![free("m", 1, None, 1), free("n", 4, None, 4), free("one", 1, Some(1), 1)];
    let mut kernel = Kernel::new("total", sizes, args, vec![variant], "");
    kernel.ptx.insert("sm_90.ptx".to_owned(), ptx());
    kernel.seal()
}

/// What the kernel makes of `x[i][j] = i - j / 4`, and what it should.
fn run(source: &'static KernelSource, device: &Device, m: usize, n: usize) -> Result<(f32, f32), Error> {
    let x: Vec<f32> = (0..m * n).map(|at| (at / n) as f32 - (at % n) as f32 / 4.0).collect();
    let expected = x.iter().sum();
    let x = Tensor::from_slice(device, &x, &[m, n])?;
    let mut y = Tensor::<f32>::zeros(device, &[1])?;
    let prepared = source.prepare(device)?;
    // Twice: the counter is set to zero for each call.
    for _ in 0..2 {
        prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()])?;
    }
    Ok((y.to_vec()?[0], expected))
}

#[test]
fn tensor_maps_and_counters() {
    let source = total("m", |_, _| ());
    for device in devices() {
        for (m, n) in [(1, 4), (8, 32), (13, 100), (67, 36)] {
            let (found, expected) = run(source, &device, m, n).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found, expected, "{m} x {n} on {device}");
        }
    }
}

#[test]
fn a_map_beyond_its_tensor_is_refused() {
    let source = total("m + 8", |_, _| ());
    for device in devices() {
        let error = run(source, &device, 8, 32).expect_err("the map has 8 rows more than the tensor");
        assert!(
            matches!(&error, Error::LaunchLimit { kernel: "total", entry, .. } if entry == "rowsum"),
            "{error}"
        );
        assert!(error.to_string().contains("reaches 2048 bytes into a buffer of 1024"), "{error}");
    }
}

#[test]
fn a_programmatic_first_launch_is_no_kernel() {
    let source = total("m", |_, launches| launches[0].programmatic = true);
    let error = run(source, &Device::machine(), 8, 32).expect_err("nothing is before the first launch");
    assert!(error.to_string().contains("begins with a programmatic launch"), "{error}");
}

#[test]
fn scratch_is_undefined_unless_the_plan_says_otherwise() {
    let source = total("m", |buffers, _| buffers[2].zero = false);
    let options = factory_runtime::MachineOptions::default().all_checks(true);
    let error = run(source, &Device::machine_with(options), 8, 32).expect_err("nobody wrote the counter");
    assert!(matches!(error, Error::MachineFault { .. }), "{error}");
}
