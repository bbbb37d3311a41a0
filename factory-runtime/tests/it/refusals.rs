//! Whatever a kernel was not verified for is refused, by an error that names the kernel and the argument.

use factory_runtime::{ArgValue, Device, Error, MachineOptions, Prepared, Tensor, TensorMut, TensorRef};
use factory_spec::{DType, DomainError};

use crate::kernels::{Kernel, arg, devices, expr, free, gpu, launch, pointer, scale, size, variant};

/// `scale` with a good set of arguments of which a test spoils one.
struct Bench {
    device: Device,
    prepared: Prepared,
}

impl Bench {
    fn all() -> Vec<Bench> {
        devices()
            .into_iter()
            .map(|device| Bench { prepared: scale().seal().prepare(&device).unwrap(), device })
            .collect()
    }

    fn tensor(&self, shape: &[usize]) -> Tensor<f32> {
        Tensor::zeros(&self.device, shape).unwrap()
    }

    fn launch(&self, args: &mut [ArgValue<'_>]) -> Result<(), Error> {
        self.prepared.launch(self.device.stream(), args)
    }

    /// The error of a launch with tensors of these shapes.
    fn error(&self, x: &[usize], w: &[usize], y: &[usize]) -> Error {
        let (x, w, mut y) = (self.tensor(x), self.tensor(w), self.tensor(y));
        self.launch(&mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()])
            .expect_err("the shapes are wrong")
    }
}

#[test]
fn another_number_of_arguments() {
    for bench in Bench::all() {
        let error = bench.launch(&mut [1.0f32.into()]).unwrap_err();
        assert!(matches!(error, Error::ArgumentCount { kernel: "scale", expected: 4, got: 1 }), "{error}");
    }
}

#[test]
fn another_type_or_kind() {
    for bench in Bench::all() {
        let (x, w, mut y) = (bench.tensor(&[1, 4]), bench.tensor(&[4]), bench.tensor(&[1, 4]));
        let error =
            bench.launch(&mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f64.into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`scale`: argument `s` is a scalar of f64, the spec says a scalar of f32"
        );
        let error = bench.launch(&mut [(&x).into(), (&w).into(), (&x).into(), 1.0f32.into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`scale`: argument `y` is a tensor of f32, the spec says a writable tensor of f32"
        );
        let error =
            bench.launch(&mut [1.0f32.into(), (&w).into(), (&mut y).into(), 1.0f32.into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`scale`: argument `x` is a scalar of f32, the spec says a tensor of f32"
        );
    }
}

#[test]
fn a_wrong_rank() {
    for bench in Bench::all() {
        let error = bench.error(&[8], &[8], &[1, 8]);
        assert_eq!(error.to_string(), "`scale`: argument `x` has 1 dimensions, the spec says 2: [m, n]");
    }
}

#[test]
fn a_wrong_shape() {
    for bench in Bench::all() {
        let error = bench.error(&[2, 8], &[12], &[2, 8]);
        let Error::Shape { kernel: "scale", argument, dimension: 0, size, expected: 8, got: 12, .. } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((argument.as_str(), size.as_str()), ("w", "n"));
        let text = error.to_string();
        assert_eq!(
            text,
            "`scale`: argument `w`: dimension 0 (`n`) is 12, expected 8 (as argument `x` has it)"
        );
        let error = bench.error(&[2, 8], &[8], &[3, 8]);
        assert!(
            matches!(&error, Error::Shape { argument, dimension: 0, expected: 2, got: 3, .. } if argument == "y"),
            "{error}"
        );
    }
}

#[test]
fn sizes_outside_of_the_domain() {
    for bench in Bench::all() {
        let domain = |error: Error| match error {
            Error::Domain { kernel: "scale", source } => source,
            other => panic!("{other}"),
        };
        let source = domain(bench.error(&[2, 6], &[6], &[2, 6]));
        assert!(matches!(source, DomainError::NotMultiple { value: 6, multiple_of: 4, .. }), "{source}");
        let source = domain(bench.error(&[1, 8192], &[8192], &[1, 8192]));
        assert!(matches!(source, DomainError::AboveMax { value: 8192, max: 4096, .. }), "{source}");
    }
}

#[test]
fn zero_rows_are_no_work() {
    for bench in Bench::all() {
        let (x, w, mut y) = (bench.tensor(&[0, 8]), bench.tensor(&[8]), bench.tensor(&[0, 8]));
        bench.launch(&mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()]).unwrap();
        assert!(y.to_vec().unwrap().is_empty());
        // The other sizes must be right all the same.
        let error = bench.error(&[0, 6], &[6], &[0, 6]);
        assert!(matches!(error, Error::Domain { .. }), "{error}");
        let error = bench.error(&[0, 8], &[4], &[0, 8]);
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}

/// A reduction over nothing is not "no work": there are outputs to write.
#[test]
fn a_null_size_under_an_output() {
    let params = vec![pointer("x"), pointer("y"), size("n", 4)];
    let args = vec![
        arg("x", DType::F32, &["m", "n"], factory_spec::Role::In),
        arg("y", DType::F32, &["m"], factory_spec::Role::Out),
    ];
    let variants = vec![variant("plain", "1", 4, vec![launch("copy", "m", 32, params)])];
    let kernel = Kernel::new(
        "row_sum",
        vec![free("m", 1, None, 1), free("n", 1, None, 1)],
        args,
        variants,
        crate::kernels::COPY,
    );
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        let x = Tensor::<f32>::zeros(&device, &[3, 0]).unwrap();
        let mut y = Tensor::<f32>::zeros(&device, &[3]).unwrap();
        let error = prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Domain { kernel: "row_sum", source: DomainError::BelowMin { value: 0, .. } }
            ),
            "{error}"
        );
    }
}

#[test]
fn strides_of_something_else() {
    for bench in Bench::all() {
        let (x, w, mut y) = (bench.tensor(&[8, 8]), bench.tensor(&[8]), bench.tensor(&[4, 8]));
        let every_second = x.view().strided(&[4, 8], &[16, 1]).unwrap();
        let error = bench
            .launch(&mut [every_second.into(), (&w).into(), (&mut y).into(), 1.0f32.into()])
            .unwrap_err();
        let Error::Stride { kernel: "scale", argument, expected, got } = &error else { panic!("{error}") };
        assert_eq!(
            (argument.as_str(), expected.as_slice(), got.as_slice()),
            ("x", &[8, 1][..], &[16, 1][..])
        );
        let transposed = x.view().strided(&[8, 8], &[1, 8]).unwrap();
        let mut y = bench.tensor(&[8, 8]);
        let error =
            bench.launch(&mut [transposed.into(), (&w).into(), (&mut y).into(), 1.0f32.into()]).unwrap_err();
        assert!(
            error.to_string().contains("contiguous row-major") && error.to_string().contains("hint:"),
            "{error}"
        );
    }
}

#[test]
fn strides_that_leave_the_memory() {
    let values = [0.0f32; 8];
    let view = || TensorRef::from_slice(&values, &[8]).unwrap();
    assert!(matches!(view().strided(&[3, 4], &[4, 1]), Err(Error::Extent { .. })));
    assert!(matches!(view().strided(&[2, 2], &[usize::MAX, 1]), Err(Error::Extent { .. })));
    assert!(matches!(view().strided(&[2, 2], &[4]), Err(Error::Extent { .. })));
    assert!(view().strided(&[2, 2], &[4, 3]).is_ok());
}

#[test]
fn a_misaligned_view() {
    for bench in Bench::all() {
        // Rows of 9 floats would start at multiples of 36 bytes.
        let x = bench.tensor(&[9]);
        let (w, mut y) = (bench.tensor(&[8]), bench.tensor(&[1, 8]));
        let from_the_second = x.view().rows(1..9).unwrap().strided(&[1, 8], &[8, 1]).unwrap();
        let error = bench
            .launch(&mut [from_the_second.into(), (&w).into(), (&mut y).into(), 1.0f32.into()])
            .unwrap_err();
        assert!(
            matches!(&error, Error::Alignment { kernel: "scale", argument, required: 16, .. } if argument == "x"),
            "{error}"
        );
    }
}

#[test]
fn an_output_that_is_an_input() {
    let bench =
        Bench { device: Device::machine(), prepared: scale().seal().prepare(&Device::machine()).unwrap() };
    let mut values = [0.0f32; 64];
    // Safe code cannot lend one slice twice; a program that holds raw memory can.
    let alias = |start: usize, values: &[f32; 64]| {
        // SAFETY: the launch that gets it is refused before anything is written.
        let slice: &'static [f32] =
            unsafe { std::slice::from_raw_parts(values.as_ptr().wrapping_add(start), 16) };
        TensorRef::from_slice(slice, &[2, 8]).unwrap()
    };
    let w = bench.tensor(&[8]);
    for start in [0, 4, 12] {
        let x = alias(start, &values);
        let y = TensorMut::from_slice(&mut values[..16], &[2, 8]).unwrap();
        let error = bench.launch(&mut [x.into(), (&w).into(), y.into(), 1.0f32.into()]).unwrap_err();
        assert!(
            matches!(&error, Error::Alias { kernel: "scale", first, second } if first == "x" && second == "y"),
            "{start}: {error}"
        );
    }
    let x = alias(16, &values);
    let y = TensorMut::from_slice(&mut values[..16], &[2, 8]).unwrap();
    bench.launch(&mut [x.into(), (&w).into(), y.into(), 1.0f32.into()]).expect("neighbours do not overlap");
}

/// Two inputs may be the same memory.
#[test]
fn inputs_may_be_shared() {
    for bench in Bench::all() {
        let values = Tensor::from_slice(&bench.device, &[2.0f32, 3.0, 4.0, 5.0], &[4]).unwrap();
        let x = values.view().strided(&[1, 4], &[4, 1]).unwrap();
        let mut y = bench.tensor(&[1, 4]);
        bench.launch(&mut [x.into(), (&values).into(), (&mut y).into(), 1.0f32.into()]).unwrap();
        assert_eq!(y.to_vec().unwrap(), [4.0, 9.0, 16.0, 25.0]);
    }
}

#[test]
fn memory_of_another_device() {
    let machine =
        Bench { device: Device::machine(), prepared: scale().seal().prepare(&Device::machine()).unwrap() };
    // Host memory is host memory: other options of the machine do not matter to a tensor, but they do to a stream.
    let other = Device::machine_with(MachineOptions::default().seed(3));
    let x = Tensor::<f32>::zeros(&other, &[1, 4]).unwrap();
    let (w, mut y) = (machine.tensor(&[4]), machine.tensor(&[1, 4]));
    machine.launch(&mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()]).unwrap();
    let error = machine
        .prepared
        .launch(other.stream(), &mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()])
        .unwrap_err();
    assert!(matches!(&error, Error::DeviceMismatch { argument, .. } if argument == "stream"), "{error}");

    let Some(gpu) = gpu() else { return };
    let gpu = Bench { prepared: scale().seal().prepare(&gpu).unwrap(), device: gpu };
    let error = gpu.launch(&mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()]).unwrap_err();
    assert!(matches!(&error, Error::DeviceMismatch { argument, .. } if argument == "x"), "{error}");
    let x = gpu.tensor(&[1, 4]);
    let error = machine.launch(&mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()]).unwrap_err();
    assert!(matches!(&error, Error::DeviceMismatch { argument, .. } if argument == "x"), "{error}");
    let error = machine
        .prepared
        .launch(gpu.device.stream(), &mut [(&x).into(), (&w).into(), (&mut y).into(), 1.0f32.into()])
        .unwrap_err();
    assert!(matches!(&error, Error::DeviceMismatch { argument, .. } if argument == "stream"), "{error}");
}

#[test]
fn sizes_that_no_variant_serves() {
    let mut kernel = scale();
    kernel.plan.targets[0].variants[0].when = expr("n <= 16");
    for device in devices() {
        let prepared = kernel.seal().prepare(&device).unwrap();
        let bench = Bench { device: device.clone(), prepared };
        let error = bench.error(&[1, 32], &[32], &[1, 32]);
        assert!(
            matches!(&error, Error::NoVariant { kernel: "scale", sizes, .. } if sizes == "m = 1, n = 32"),
            "{error}"
        );
    }
}
