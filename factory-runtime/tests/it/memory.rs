//! Tensors and views as such.

use factory_runtime::{Device, Error, Tensor, TensorMut, TensorRef, bf16};

use crate::kernels::{devices, gpu};

#[test]
fn what_goes_in_comes_out() {
    for device in devices() {
        let values: Vec<bf16> = (0..24).map(|i| bf16::from_f32(i as f32)).collect();
        let mut tensor = Tensor::from_slice(&device, &values, &[2, 3, 4]).unwrap();
        assert_eq!((tensor.shape(), tensor.len(), tensor.device()), (&[2, 3, 4][..], 24, &device));
        assert_eq!(tensor.to_vec().unwrap(), values);
        tensor.copy_from_slice(&[bf16::ONE; 24]).unwrap();
        let tensor = tensor.reshape(&[24]).unwrap();
        assert_eq!(tensor.to_vec().unwrap(), [bf16::ONE; 24]);
        assert!(Tensor::<f64>::zeros(&device, &[3, 0]).unwrap().to_vec().unwrap().is_empty());
        assert_eq!(Tensor::<i64>::zeros(&device, &[3]).unwrap().to_vec().unwrap(), [0; 3]);
    }
}

#[test]
fn lengths_must_agree() {
    for device in devices() {
        let error = Tensor::from_slice(&device, &[1.0f32; 5], &[2, 3]).unwrap_err();
        assert_eq!(error.to_string(), "the shape [2, 3] has 6 elements, but the slice has 5");
        let mut tensor = Tensor::from_slice(&device, &[1.0f32; 6], &[2, 3]).unwrap();
        assert!(matches!(tensor.copy_from_slice(&[0.0; 5]), Err(Error::Extent { .. })));
        assert!(matches!(tensor.copy_to_slice(&mut [0.0; 7]), Err(Error::Extent { .. })));
        assert!(matches!(tensor.rows(1..3), Err(Error::Extent { .. })));
        assert!(matches!(tensor.reshape(&[7]), Err(Error::Extent { .. })));
    }
    assert!(matches!(TensorRef::from_slice(&[0u8; 3], &[4]), Err(Error::Extent { .. })));
}

#[test]
fn views_take_other_shapes() {
    for device in devices() {
        let mut tensor = Tensor::from_slice(&device, &[1.0f32; 24], &[2, 3, 4]).unwrap();
        let view = TensorRef::from(&tensor).reshape(&[6, 4]).unwrap();
        assert_eq!(view.shape(), [6, 4]);
        assert!(matches!(view.clone().reshape(&[5, 4]), Err(Error::Extent { .. })));
        let gaps = view.strided(&[6, 2], &[4, 1]).unwrap();
        assert!(matches!(gaps.reshape(&[12]), Err(Error::Extent { .. })), "it is not contiguous");
        assert_eq!(TensorMut::from(&mut tensor).reshape(&[24]).unwrap().shape(), [24]);
    }
}

#[test]
fn shapes_beyond_memory_are_errors() {
    let device = Device::machine();
    assert!(matches!(Tensor::<u8>::zeros(&device, &[usize::MAX, 2]), Err(Error::Extent { .. })));
    assert!(matches!(Tensor::<u8>::zeros(&device, &[1; 9]), Err(Error::Extent { .. })));
}

#[test]
fn views_know_their_rows() {
    let values: Vec<u32> = (0..12).collect();
    let view = TensorRef::from_slice(&values, &[4, 3]).unwrap();
    assert_eq!(view.rows(1..1).unwrap().shape(), [0, 3]);
    assert_eq!(view.rows(4..4).unwrap().shape(), [0, 3]);
    assert_eq!(view.rows(1..3).unwrap().rows(1..2).unwrap().shape(), [1, 3]);
    assert!(view.rows(3..5).is_err());
}

#[test]
fn the_place_of_memory_matters() {
    let tensor = Tensor::from_slice(&Device::machine(), &[1u8, 2], &[2]).unwrap();
    assert_eq!(tensor.as_slice().unwrap(), [1, 2]);
    assert!(matches!(tensor.cuda_view(), Err(Error::WrongPlace { .. })));
    let Some(gpu) = gpu() else { return };
    let mut tensor = Tensor::from_slice(&gpu, &[1u8, 2], &[2]).unwrap();
    assert!(matches!(tensor.as_slice(), Err(Error::WrongPlace { .. })));
    assert_eq!(tensor.cuda_view().unwrap().len(), 2);
    assert_eq!(tensor.cuda_view_mut().unwrap().len(), 2);
}

#[test]
fn out_of_memory_says_how_much() {
    let Some(gpu) = gpu() else { return };
    let error = Tensor::<f64>::zeros(&gpu, &[1 << 42]).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { bytes: 0x2000_0000_0000, .. }), "{error}");
    assert!(error.to_string().contains("are free"), "{error}");
    // The device is as good as before.
    assert_eq!(Tensor::from_slice(&gpu, &[5u8], &[1]).unwrap().to_vec().unwrap(), [5]);
}
