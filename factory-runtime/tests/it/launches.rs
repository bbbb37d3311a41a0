//! What a plan may ask of a launch: variants, clusters, shared memory, limits.

use factory_runtime::{Device, Error, Tensor, TensorMut, TensorRef};
use factory_spec::{Arch, DType, Role, SizeExpr, TargetPlan};

use crate::kernels::{
    Kernel, arg, copy, devices, expr, free, gpu, launch, module, pointer, scale, size, variant,
};

#[test]
fn the_first_variant_that_holds() {
    let mut kernel = copy(DType::U8);
    let plain = kernel.plan.targets[0].variants[0].clone();
    let mut small = plain.clone();
    small.name = "small".to_owned();
    small.when = expr("n <= 100 and n % 2 == 0");
    kernel.plan.targets[0].variants = vec![small, plain];
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        for (n, name) in [(100, "small"), (99, "plain"), (102, "plain")] {
            let x = Tensor::<u8>::zeros(&device, &[n]).unwrap();
            let mut y = Tensor::<u8>::zeros(&device, &[n]).unwrap();
            assert_eq!(prepared.variant(&[(&x).into(), (&mut y).into()]).unwrap(), name);
        }
    }
}

#[test]
fn a_grid_beyond_the_limits() {
    let mut kernel = copy(DType::U8);
    kernel.plan.targets[0].variants[0].launches[0].grid[1] = expr("n * 70000");
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        let x = Tensor::<u8>::zeros(&device, &[1]).unwrap();
        let mut y = Tensor::<u8>::zeros(&device, &[1]).unwrap();
        let error = prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap_err();
        assert!(matches!(&error, Error::LaunchLimit { entry, .. } if entry == "copy"), "{error}");
        assert!(error.to_string().contains("70000 blocks along y, the limit is 65535"), "{error}");
    }
}

#[test]
fn a_grid_that_overflows() {
    let mut kernel = copy(DType::U8);
    kernel.plan.targets[0].variants[0].launches[0].grid[0] = expr("n * 4611686018427387904 * 4");
    let device = Device::machine();
    let prepared = kernel.seal().prepare(&device).unwrap();
    let (x, mut y) = ([0u8; 3], [0u8; 3]);
    let args = &mut [
        TensorRef::from_slice(&x, &[3]).unwrap().into(),
        TensorMut::from_slice(&mut y, &[3]).unwrap().into(),
    ];
    let error = prepared.launch(device.stream(), args).unwrap_err();
    assert!(matches!(&error, Error::Expression { .. }), "{error}");
}

#[test]
fn a_launch_of_no_blocks_is_left_out() {
    let mut kernel = copy(DType::U8);
    let launches = &mut kernel.plan.targets[0].variants[0].launches;
    let mut never = launches[0].clone();
    never.grid[0] = SizeExpr::constant(0);
    launches.insert(0, never);
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        let x = Tensor::from_slice(&device, &[1u8, 2, 3], &[3]).unwrap();
        let mut y = Tensor::<u8>::zeros(&device, &[3]).unwrap();
        prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap();
        assert_eq!(y.to_vec().unwrap(), [1, 2, 3]);
    }
}

/// Each block writes its rank in its cluster; more dynamic shared memory than a function has without asking.
#[test]
fn clusters_and_large_shared_memory() {
    const RANKS: &str = r"
.extern .shared .align 16 .b8 pool[];
.visible .entry ranks(.param .u64 param_y)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<4>;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %cluster_ctarank;
    st.shared.u32 [pool+65532], %r2;
    ld.shared.u32 %r3, [pool+65532];
    ld.param.u64 %rd1, [param_y];
    cvta.to.global.u64 %rd1, %rd1;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r3;
    ret;
}
";
    let mut plan = launch("ranks", "n", 1, vec![pointer("y")]);
    plan.cluster = [4, 1, 1];
    plan.shared_bytes = expr("65536");
    let args = vec![arg("y", DType::U32, &["n"], Role::Out)];
    let kernel = Kernel::new(
        "ranks",
        vec![free("n", 1, None, 1)],
        args,
        vec![variant("plain", "1", 4, vec![plan])],
        RANKS,
    );
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        let mut y = Tensor::<u32>::zeros(&device, &[8]).unwrap();
        prepared.launch(device.stream(), &mut [(&mut y).into()]).unwrap();
        assert_eq!(y.to_vec().unwrap(), [0, 1, 2, 3, 0, 1, 2, 3], "on {device}");
        let mut y = Tensor::<u32>::zeros(&device, &[6]).unwrap();
        let error = prepared.launch(device.stream(), &mut [(&mut y).into()]).unwrap_err();
        assert!(error.to_string().contains("not a multiple of the cluster"), "{error}");
    }
}

#[test]
fn faults_of_the_machine_say_where() {
    let mut kernel = copy(DType::U8);
    // One byte too many.
    kernel.plan.targets[0].variants[0].launches[0].params[2] = size("n + 1", 4);
    let device = Device::machine();
    let prepared = kernel.seal().prepare(&device).unwrap();
    let (x, mut y) = ([0u8; 5], [0u8; 5]);
    let args = &mut [
        TensorRef::from_slice(&x, &[5]).unwrap().into(),
        TensorMut::from_slice(&mut y, &[5]).unwrap().into(),
    ];
    let error = prepared.launch(device.stream(), args).unwrap_err();
    let Error::MachineFault { kernel: "copy_u8", fault } = &error else { panic!("{error}") };
    assert_eq!((fault.kind, fault.thread), (factory_ptx::machine::FaultKind::OutOfBounds, [5, 0, 0]));
    assert!(error.to_string().contains("`copy_u8` faulted on the PTX machine"), "{error}");
}

/// Reads of what nobody wrote are found when all checks are on.
#[test]
fn the_expensive_checks_can_be_switched_on() {
    let mut kernel = crate::kernels::copy_through_scratch();
    kernel.plan.targets[0].variants[0].launches.remove(0);
    let source = kernel.seal();
    let run = |device: &Device| {
        let (x, mut y) = ([0u8; 5], [0u8; 5]);
        let args = &mut [
            TensorRef::from_slice(&x, &[5]).unwrap().into(),
            TensorMut::from_slice(&mut y, &[5]).unwrap().into(),
        ];
        source.prepare(device).unwrap().launch(device.stream(), args)
    };
    let error =
        run(&Device::machine_with(factory_runtime::MachineOptions::default().all_checks(true))).unwrap_err();
    assert!(
        matches!(&error, Error::MachineFault { fault, .. } if fault.kind == factory_ptx::machine::FaultKind::Uninitialised),
        "{error}"
    );
    run(&Device::machine_with(factory_runtime::MachineOptions::default())).unwrap();
}

#[test]
fn the_newest_target_that_the_gpu_runs() {
    let mut kernel = scale();
    let old = kernel.plan.targets[0].clone();
    kernel.plan.targets.push(TargetPlan { arch: Arch::Sm100, ptx: "sm_100.ptx".to_owned(), ..old });
    kernel.ptx.insert(
        "sm_100.ptx".to_owned(),
        kernel.ptx["sm_90.ptx"].replace("sm_90", "sm_100").replace("7.8", "8.6"),
    );
    assert_eq!(
        kernel.seal().prepare(&Device::machine()).unwrap().target(),
        "sm_90",
        "the machine takes the oldest"
    );
    let Some(gpu) = gpu() else { return };
    let expected = if gpu.compute_capability() >= Some((10, 0)) { "sm_100" } else { "sm_90" };
    assert_eq!(kernel.seal().prepare(&gpu).unwrap().target(), expected);
}

#[test]
fn no_target_for_the_gpu() {
    let Some(gpu) = gpu() else { return };
    let mut kernel = scale();
    // PTX for exactly one architecture, which is another one than any GPU of this test has.
    let exact = if gpu.compute_capability() == Some((10, 0)) { Arch::Sm90a } else { Arch::Sm100a };
    kernel.plan.targets[0].arch = exact;
    let error = kernel.seal().prepare(&gpu).unwrap_err();
    assert!(matches!(&error, Error::NoTarget { available, .. } if *available == exact.name()), "{error}");
}

#[test]
fn the_drivers_log_is_in_the_error() {
    let Some(gpu) = gpu() else { return };
    let mut kernel = scale();
    let broken = module(".visible .entry scale() { mov.u32 %r1, %nothing; ret; }");
    kernel.ptx.insert("sm_90.ptx".to_owned(), broken);
    let error = kernel.seal().prepare(&gpu).unwrap_err();
    assert!(matches!(&error, Error::Jit { kernel: "scale", log, .. } if log.contains("line")), "{error}");

    let mut kernel = scale();
    let future = kernel.ptx["sm_90.ptx"].replace(".version 7.8", ".version 99.0");
    kernel.ptx.insert("sm_90.ptx".to_owned(), future);
    let error = kernel.seal().prepare(&gpu).unwrap_err();
    assert!(matches!(&error, Error::DriverTooOld { .. } | Error::Jit { .. }), "{error}");
}

#[test]
fn more_shared_memory_than_there_is() {
    let mut kernel = copy(DType::U8);
    kernel.plan.targets[0].variants[0].launches[0].shared_bytes = expr("900 * 1024");
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        let x = Tensor::<u8>::zeros(&device, &[1]).unwrap();
        let mut y = Tensor::<u8>::zeros(&device, &[1]).unwrap();
        let error = prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap_err();
        assert!(matches!(&error, Error::LaunchLimit { entry, .. } if entry == "copy"), "{error}");
    }
}

#[test]
fn a_parameter_that_does_not_fit() {
    let mut kernel = copy(DType::U8);
    kernel.plan.targets[0].variants[0].launches[0].params[2] = size("n * 4294967296", 4);
    let device = Device::machine();
    let prepared = kernel.seal().prepare(&device).unwrap();
    let (x, mut y) = ([0u8; 1], [0u8; 1]);
    let args = &mut [
        TensorRef::from_slice(&x, &[1]).unwrap().into(),
        TensorMut::from_slice(&mut y, &[1]).unwrap().into(),
    ];
    let error = prepared.launch(device.stream(), args).unwrap_err();
    assert!(error.to_string().contains("would have to hold 4294967296"), "{error}");
}

/// A plan whose parameters are not the entry's is refused on the machine.
#[test]
fn parameters_of_another_width() {
    let mut kernel = copy(DType::U8);
    kernel.plan.targets[0].variants[0].launches[0].params[2] = size("n", 8);
    let device = Device::machine();
    let prepared = kernel.seal().prepare(&device).unwrap();
    let (x, mut y) = ([0u8; 1], [0u8; 1]);
    let args = &mut [
        TensorRef::from_slice(&x, &[1]).unwrap().into(),
        TensorMut::from_slice(&mut y, &[1]).unwrap().into(),
    ];
    let error = prepared.launch(device.stream(), args).unwrap_err();
    assert!(matches!(&error, Error::BadKernel { .. }), "{error}");
}
