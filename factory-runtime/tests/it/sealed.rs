//! What a sealed kernel's texts must be.

use factory_runtime::{Device, Error, KernelSource};

use crate::kernels::{devices, scale};

fn prepare(source: KernelSource) -> Result<(), Error> {
    let source: &'static KernelSource = Box::leak(Box::new(source));
    source.prepare(&Device::machine()).map(|_| ())
}

#[test]
fn a_kernel_is_prepared_once() {
    for device in devices() {
        let source = scale().seal();
        let first = source.prepare(&device).unwrap();
        let second = source.prepare(&device).unwrap();
        // Another copy of the same text, as another crate would have it.
        let third = scale().seal().prepare(&device).unwrap();
        assert!(std::ptr::eq(first.target(), second.target()));
        assert!(std::ptr::eq(second.source(), third.source()), "found again");
        assert_eq!(first.device(), &device);
    }
}

#[test]
fn tampered_ptx() {
    let mut source = scale().source();
    let text = source.ptx[0].1.replace("mul.rn.f32 %f5, %f4, %f3", "mul.rn.f32 %f5, %f4, %f4");
    let text: &'static str = Box::leak(text.into_boxed_str());
    source.ptx = Box::leak(Box::new([("sm_90.ptx", text)]));
    let error = prepare(source).unwrap_err();
    assert!(matches!(&error, Error::Tampered { kernel: "scale", file } if file == "sm_90.ptx"), "{error}");
}

#[test]
fn tampered_plan() {
    let mut source = scale().source();
    source.plan = Box::leak(source.plan.replace("128", "64").into_boxed_str());
    let error = prepare(source).unwrap_err();
    assert!(matches!(&error, Error::Tampered { file, .. } if file == "plan.json"), "{error}");
}

#[test]
fn a_certificate_of_another_kernel() {
    let mut source = scale().source();
    source.certificate = crate::kernels::copy(factory_spec::DType::U8).source().certificate;
    let error = prepare(source).unwrap_err();
    assert!(matches!(&error, Error::Tampered { file, .. } if file == "certificate.json"), "{error}");
}

#[test]
fn texts_that_cannot_be_read() {
    for spoil in [
        |source: &mut KernelSource| source.spec = "{",
        |source: &mut KernelSource| source.plan = "[]",
        |source: &mut KernelSource| source.certificate = "",
        |source: &mut KernelSource| source.ptx = &[],
    ] {
        let mut source = scale().source();
        spoil(&mut source);
        let error = prepare(source).unwrap_err();
        assert!(matches!(error, Error::BadKernel { kernel: "scale", .. }), "{error}");
    }
}

#[test]
fn a_stub_says_what_to_do() {
    let mut source = scale().source();
    source.missing = Some("there is no sealed kernel, and documentation builds do not search");
    let error = prepare(source).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`scale` was not built: there is no sealed kernel, and documentation builds do not search"
    );
    assert!(matches!(error, Error::Missing { .. }));
}

#[test]
fn ptx_that_the_machine_does_not_run() {
    let mut kernel = scale();
    let text = kernel.ptx["sm_90.ptx"].replace("rem.u32 %r5, %r4, %r5;", "rem.u33 %r5, %r4, %r5;");
    kernel.ptx.insert("sm_90.ptx".to_owned(), text);
    let error = kernel.seal().prepare(&Device::machine()).unwrap_err();
    assert!(
        matches!(&error, Error::MachineUnsupported { kernel: "scale", why } if why.contains("sm_90.ptx")),
        "{error}"
    );
}

#[test]
fn everything_may_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<Device>();
    check::<factory_runtime::Stream>();
    check::<factory_runtime::Prepared>();
    check::<factory_runtime::Tensor<f32>>();
    check::<factory_runtime::TensorRef<'static, f32>>();
    check::<factory_runtime::TensorMut<'static, f32>>();
    check::<factory_runtime::ArgValue<'static>>();
    check::<Error>();
}
