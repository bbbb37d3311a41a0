//! What the kernels were not verified for is an error, and not a wrong answer.

use factory_rmsnorm::{Error, Tensor, bf16, rms_norm, rms_norm_rstd};

use crate::support::{machine, tensor, zeros};

#[test]
fn rows_with_gaps_where_kernels_are_for_dense_tensors() {
    let x = zeros::<bf16>(&[4, 64]);
    let gaps = x.columns(0..32).unwrap();
    let (w, mut y, mut rstd) = (zeros::<f32>(&[32]), zeros::<bf16>(&[4, 32]), zeros::<f32>(&[4]));
    assert!(matches!(rms_norm_rstd(gaps, &w, &mut y, &mut rstd, 1e-6, 0.0), Err(Error::Stride { .. })));
}

#[test]
fn rows_that_are_not_contiguous_or_not_equally_far_apart() {
    let x = zeros::<bf16>(&[4, 64]);
    let (w, mut y) = (zeros::<f32>(&[16]), zeros::<bf16>(&[4, 16]));
    let every_other = x.view().strided(&[4, 16], &[64, 2]).unwrap();
    assert!(matches!(rms_norm(every_other, &w, &mut y, 1e-6, 0.0), Err(Error::RowStride { .. })));
    let overlapping = x.view().strided(&[4, 16], &[8, 1]).unwrap();
    assert!(matches!(rms_norm(overlapping, &w, &mut y, 1e-6, 0.0), Err(Error::Domain { .. })));
    let uneven = x.view().strided(&[2, 2, 16], &[150, 64, 1]).unwrap();
    let mut y = zeros::<bf16>(&[2, 2, 16]);
    assert!(matches!(rms_norm(uneven, &w, &mut y, 1e-6, 0.0), Err(Error::Extent { .. })));
}

#[test]
fn shapes_that_do_not_agree() {
    let (x, mut y) = (zeros::<bf16>(&[4, 64]), zeros::<bf16>(&[4, 64]));
    let short = zeros::<f32>(&[32]);
    assert!(matches!(rms_norm(&x, &short, &mut y, 1e-6, 0.0), Err(Error::Shape { .. })));
    let (w, mut rstd) = (zeros::<f32>(&[64]), zeros::<f32>(&[3]));
    assert!(matches!(rms_norm_rstd(&x, &w, &mut y, &mut rstd, 1e-6, 0.0), Err(Error::Shape { .. })));
}

#[test]
fn rows_that_are_too_long() {
    let n = 262_145;
    let (x, w, mut y) = (zeros::<bf16>(&[1, n]), zeros::<f32>(&[n]), zeros::<bf16>(&[1, n]));
    assert!(matches!(rms_norm(&x, &w, &mut y, 1e-6, 0.0), Err(Error::Domain { .. })));
}

#[test]
fn views_that_are_not_aligned() {
    let whole: Tensor<bf16> = zeros(&[3, 7]);
    let x = whole.rows(1..3).unwrap();
    let (w, mut y) = (tensor(&[1.0f32; 7], &[7]), Tensor::zeros(&machine(), &[2, 7]).unwrap());
    assert!(matches!(rms_norm(x, &w, &mut y, 1e-6, 0.0), Err(Error::Alignment { .. })));
}
