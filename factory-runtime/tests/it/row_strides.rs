//! Tensors whose rows lie a stride apart.

use factory_runtime::{Device, Error, Tensor, TensorMut, TensorRef};
use factory_spec::{DType, Role};

use crate::kernels::{Kernel, arg, devices, expr, free, launch, pointer, size, variant};

/// `y[i, j] = 2 * x[i, j]`: one element a thread.
const DOUBLE: &str = r"
.visible .entry double(
    .param .u64 param_x, .param .u64 param_y, .param .u32 param_n, .param .u32 param_xs, .param .u32 param_ys, .param .u32 param_count
)
{
    .reg .pred %p;
    .reg .b32 %r<12>;
    .reg .b64 %rd<8>;
    .reg .f32 %f<3>;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r4, %r1, %r2, %r3;
    ld.param.u32 %r5, [param_count];
    setp.ge.u32 %p, %r4, %r5;
    @%p bra done;
    ld.param.u32 %r5, [param_n];
    div.u32 %r6, %r4, %r5;
    rem.u32 %r7, %r4, %r5;
    ld.param.u32 %r8, [param_xs];
    ld.param.u32 %r9, [param_ys];
    mad.lo.u32 %r10, %r6, %r8, %r7;
    mad.lo.u32 %r11, %r6, %r9, %r7;
    ld.param.u64 %rd1, [param_x];
    ld.param.u64 %rd2, [param_y];
    cvta.to.global.u64 %rd1, %rd1;
    cvta.to.global.u64 %rd2, %rd2;
    mul.wide.u32 %rd3, %r10, 4;
    mul.wide.u32 %rd4, %r11, 4;
    add.s64 %rd5, %rd1, %rd3;
    add.s64 %rd6, %rd2, %rd4;
    ld.global.f32 %f1, [%rd5];
    add.rn.f32 %f2, %f1, %f1;
    st.global.f32 [%rd6], %f2;
done:
    ret;
}
";

/// `double(x, y)` over `[b, m, n]`, with strides `xs` and `ys` of the rows; those of `x` are multiples of 2.
fn double() -> Kernel {
    let params =
        vec![pointer("x"), pointer("y"), size("n", 4), size("xs", 4), size("ys", 4), size("b * m * n", 4)];
    let mut args = vec![
        arg("x", DType::F32, &["b", "m", "n"], Role::In),
        arg("y", DType::F32, &["b", "m", "n"], Role::Out),
    ];
    args[0].row_stride = Some("xs".to_owned());
    args[1].row_stride = Some("ys".to_owned());
    let sizes = vec![
        free("b", 0, None, 1),
        free("m", 1, None, 1),
        free("n", 3, None, 1),
        free("xs", 1, None, 2),
        free("ys", 1, None, 1),
    ];
    let launch = launch("double", "ceil_div(b * m * n, 64)", 64, params);
    let mut kernel = Kernel::new("double", sizes, args, vec![variant("plain", "1", 4, vec![launch])], DOUBLE);
    kernel.interface.constraints = vec![expr("xs >= n"), expr("ys >= n")];
    kernel
}

fn launched(device: &Device, x: TensorRef<'_, f32>, y: TensorMut<'_, f32>) -> Result<(), Error> {
    let prepared = double().seal().prepare(device)?;
    prepared.launch(device.stream(), &mut [x.into(), y.into()])
}

fn iota(device: &Device, shape: &[usize]) -> Tensor<f32> {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|value| value as f32).collect();
    Tensor::from_slice(device, &values, shape).unwrap()
}

#[test]
fn columns_of_one_tensor_into_columns_of_another() {
    for device in devices() {
        let x = iota(&device, &[2, 3, 10]);
        let mut y = iota(&device, &[2, 3, 7]);
        launched(&device, x.columns(4..8).unwrap(), y.view_mut().columns_mut(2..6).unwrap()).unwrap();
        let mut expected: Vec<f32> = (0..42).map(|value| value as f32).collect();
        for row in 0..6 {
            for column in 0..4 {
                expected[row * 7 + 2 + column] = 2.0 * (row * 10 + 4 + column) as f32;
            }
        }
        assert_eq!(y.to_vec().unwrap(), expected, "what lies between stays, on {device}");
    }
}

#[test]
fn dense_tensors_have_the_stride_of_their_rows_and_one_row_has_any() {
    for device in devices() {
        let x = iota(&device, &[2, 1, 4]);
        let mut y = Tensor::<f32>::zeros(&device, &[2, 1, 4]).unwrap();
        launched(&device, x.view(), y.view_mut()).unwrap();
        assert_eq!(y.to_vec().unwrap(), (0..8).map(|value| 2.0 * value as f32).collect::<Vec<_>>());
        // Five elements are no multiple of 2, which the stride must be; where no row follows it is none.
        let x = iota(&device, &[1, 1, 5]);
        let mut y = Tensor::<f32>::zeros(&device, &[1, 1, 5]).unwrap();
        launched(&device, x.view(), y.view_mut()).unwrap();
        let x = iota(&device, &[1, 2, 5]);
        let mut y = Tensor::<f32>::zeros(&device, &[1, 2, 5]).unwrap();
        let error = launched(&device, x.view(), y.view_mut()).unwrap_err();
        assert!(matches!(error, Error::Domain { .. }), "{error}");
        // Nothing to do, at any stride.
        let x = Tensor::<f32>::zeros(&device, &[0, 2, 5]).unwrap();
        let mut y = Tensor::<f32>::zeros(&device, &[0, 2, 5]).unwrap();
        launched(&device, x.view(), y.view_mut()).unwrap();
    }
}

#[test]
fn rows_must_be_contiguous_and_equally_far_apart() {
    let device = Device::machine();
    let x = iota(&device, &[200]);
    let mut y = Tensor::<f32>::zeros(&device, &[2, 3, 4]).unwrap();
    for strides in [[24, 8, 2], [40, 8, 1], [1, 8, 24]] {
        let view = x.view().strided(&[2, 3, 4], &strides).unwrap();
        let error = launched(&device, view, y.view_mut()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`double`: argument `x` has strides {strides:?} (in elements), but the kernel was verified for contiguous \
                 rows that all lie `xs` elements apart\n\nhint: take columns of a contiguous tensor, or copy it into one"
            )
        );
    }
    // Rows that overlap are outside the domain, of which `xs >= n` is a part.
    let view = x.view().strided(&[2, 3, 4], &[6, 2, 1]).unwrap();
    let error = launched(&device, view, y.view_mut()).unwrap_err();
    assert!(error.to_string().contains("`xs >= n`"), "{error}");
}

#[test]
fn rows_stay_rows_under_another_shape() {
    let device = Device::machine();
    let x = iota(&device, &[6, 10]);
    let mut y = Tensor::<f32>::zeros(&device, &[2, 3, 4]).unwrap();
    let view = x.columns(1..5).unwrap().reshape(&[2, 3, 4]).unwrap();
    assert_eq!(view.shape(), [2, 3, 4]);
    launched(&device, view, y.view_mut()).unwrap();
    assert_eq!(y.to_vec().unwrap()[4..8], [22.0, 24.0, 26.0, 28.0]);
    assert!(x.columns(1..5).unwrap().reshape(&[3, 8]).is_err());
    assert!(x.columns(1..11).is_err());
    assert!(!x.columns(1..5).unwrap().is_contiguous() && x.columns(0..10).unwrap().is_contiguous());
}

#[test]
fn arguments_with_one_stride_must_agree_on_it() {
    let device = Device::machine();
    let mut kernel = double();
    kernel.interface.args[1].row_stride = Some("xs".to_owned());
    kernel.interface.sizes.retain(|size| size.name != "ys");
    kernel.interface.constraints = vec![expr("xs >= n")];
    let params =
        vec![pointer("x"), pointer("y"), size("n", 4), size("xs", 4), size("xs", 4), size("b * m * n", 4)];
    kernel.plan.targets[0].variants[0].launches[0].params = params;
    let prepared = kernel.seal().prepare(&device).unwrap();
    let (x, mut y) = (iota(&device, &[2, 3, 10]), Tensor::<f32>::zeros(&device, &[2, 3, 12]).unwrap());
    let launch = |columns: std::ops::Range<usize>, y: &mut Tensor<f32>| {
        let mut whole = y.view_mut();
        let y = whole.columns_mut(columns).unwrap();
        prepared.launch(device.stream(), &mut [x.columns(0..4).unwrap().into(), y.into()])
    };
    let error = launch(0..4, &mut y).unwrap_err();
    assert!(error.to_string().contains("`xs` elements apart, here 10 as another argument has it"), "{error}");
    let mut y = Tensor::<f32>::zeros(&device, &[2, 3, 10]).unwrap();
    launch(6..10, &mut y).unwrap();
    assert_eq!(y.to_vec().unwrap()[16..20], [20.0, 22.0, 24.0, 26.0]);
}
