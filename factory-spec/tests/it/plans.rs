//! Plans with tensor maps, programmatic launches and zeroed scratch.

use factory_spec::{
    Arch, DType, LaunchPlan, MapBase, MapElement, MapFill, MapInterleave, MapL2Promotion, MapSwizzle,
    ParamPlan, Plan, PlanError, Scratch, SizeExpr, TargetPlan, TensorMapFault, TensorMapNumbers,
    TensorMapPlan, Variant,
};

use crate::support::{RMSNORM, bound};

fn expr(text: &str) -> SizeExpr {
    SizeExpr::parse(text).expect("an expression of a test")
}

/// Tiles of 8 rows by 64 columns of `x`, which is bf16.
fn map() -> TensorMapPlan {
    TensorMapPlan {
        over: MapBase::Arg("x".into()),
        offset: None,
        element: None,
        dims: vec![expr("n"), expr("m")],
        strides: vec![expr("n * 2")],
        box_dims: vec![expr("64"), expr("8")],
        element_strides: Vec::new(),
        interleave: MapInterleave::None,
        swizzle: MapSwizzle::Bytes128,
        l2_promotion: MapL2Promotion::None,
        fill: MapFill::Zero,
    }
}

fn plan(change: impl Fn(&mut Variant, &mut TensorMapPlan)) -> Plan {
    let launch = |programmatic: bool, first: ParamPlan| LaunchPlan {
        entry: "rows".into(),
        grid: [expr("m"), 1.into(), 1.into()],
        block: [256, 1, 1],
        cluster: [1, 1, 1],
        shared_bytes: 0.into(),
        programmatic,
        params: vec![first, ParamPlan::pointer("y")],
    };
    let mut map = map();
    let mut variant = Variant {
        name: "tiles".into(),
        when: 1.into(),
        alignment: 16,
        scratch: vec![Scratch { name: "counter".into(), bytes: 4.into(), zero: true }],
        launches: vec![launch(false, ParamPlan::pointer("x")), launch(true, ParamPlan::pointer("x"))],
    };
    change(&mut variant, &mut map);
    variant.launches[1].params[0] = ParamPlan::TensorMap(Box::new(map));
    let target =
        |arch: Arch| TargetPlan { arch, ptx: format!("{arch}.ptx"), variants: vec![variant.clone()] };
    Plan { schema: Plan::SCHEMA, targets: vec![target(Arch::Sm90), target(Arch::Sm100)] }
}

#[test]
fn new_parts_round_trip_and_old_plans_keep_their_bytes() {
    let every = plan(|_, map| {
        map.offset = Some(expr("n * 16"));
        map.element = Some(MapElement::Tf32);
        map.element_strides = vec![1.into(), 2.into()];
        map.l2_promotion = MapL2Promotion::Bytes256;
        map.fill = MapFill::Nan;
    });
    for plan in [plan(|_, _| ()), every] {
        let text = plan.to_json();
        assert_eq!(Plan::parse(&text).expect("it was just written"), plan, "{text}");
    }
    let text = plan(|_, _| ()).to_json();
    assert_eq!(text.matches("\"programmatic\": true").count(), 2, "{text}");
    for left_out in ["\"programmatic\": false", "\"element\"", "\"offset\"", "\"fill\"", "\"interleave\""] {
        assert!(!text.contains(left_out), "{left_out} in {text}");
    }
    // As it was sealed before there were any of these parts.
    let old = "{\n  \"schema\": 1,\n  \"targets\": [\n    {\n      \"arch\": \"sm_90\",\n      \"ptx\": \"sm_90.ptx\",\n      \
               \"variants\": [\n        {\n          \"name\": \"a\",\n          \"when\": \"1\",\n          \
               \"alignment\": 4,\n          \"scratch\": [\n            {\n              \"name\": \"s\",\n              \
               \"bytes\": \"m * 4\"\n            }\n          ],\n          \"launches\": [\n            {\n              \
               \"entry\": \"k\",\n              \"grid\": [\n                \"m\",\n                \"1\",\n                \
               \"1\"\n              ],\n              \"block\": [\n                32,\n                1,\n                \
               1\n              ],\n              \"cluster\": [\n                1,\n                1,\n                1\n              \
               ],\n              \"shared_bytes\": \"0\",\n              \"params\": [\n                {\n                  \
               \"scratch\": {\n                    \"name\": \"s\"\n                  }\n                }\n              \
               ]\n            }\n          ]\n        }\n      ]\n    }\n  ]\n}\n";
    assert_eq!(Plan::parse(old).expect("an old plan").to_json(), old);
}

#[test]
fn plans_with_tensor_maps_agree_with_specs() {
    assert_eq!(plan(|_, _| ()).check_against(&bound(RMSNORM)), Ok(()));
    let only_by_map = plan(|variant, map| {
        map.over = MapBase::Arg("y".into());
        variant.launches.iter_mut().for_each(|launch| launch.params.truncate(1));
    });
    assert_eq!(only_by_map.check_against(&bound(RMSNORM)), Ok(()));
    let over_scratch = plan(|variant, map| {
        variant.scratch[0].bytes = expr("m * n * 2");
        map.over = MapBase::Scratch("counter".into());
        map.element = Some(MapElement::BF16);
    });
    assert_eq!(over_scratch.check_against(&bound(RMSNORM)), Ok(()));

    let place = "sm_90, variant `tiles`";
    let at = format!("{place}, launch 1, parameter 0");
    type Change = fn(&mut Variant, &mut TensorMapPlan);
    let rows: [(Change, &str); 17] = [
        (|_, map| map.over = MapBase::Arg("z".into()), "the spec has no argument `z`"),
        (|_, map| map.over = MapBase::Arg("eps".into()), "`eps` is passed as a tensor map, but is a scalar"),
        (|_, map| map.over = MapBase::Scratch("z".into()), "the variant has no scratch buffer `z`"),
        (
            |_, map| map.over = MapBase::Scratch("counter".into()),
            "a tensor map over a scratch buffer must say its `element`",
        ),
        (
            |variant, _| variant.alignment = 8,
            "a tensor map needs an alignment of 16 bytes, but the variant asks for 8 alone",
        ),
        (|_, map| map.dims[0] = "q".into(), "`q` cannot be computed: no size is called `q`"),
        (|_, map| map.dims.clear(), "a tensor map of 0 dimensions: 1 to 5 are possible"),
        (
            |_, map| map.interleave = MapInterleave::Bytes16,
            "a tensor map of 2 dimensions: 3 to 5 are possible",
        ),
        (|_, map| map.strides.push(16.into()), "a tensor map of 2 dimensions has 2 strides, but needs 1"),
        (
            |_, map| map.element_strides = vec![1.into()],
            "a tensor map of 2 dimensions has 1 element strides, but needs 2",
        ),
        (
            |_, map| map.box_dims[1] = 257.into(),
            "box extent 1 of the tensor map is 257, but must be 1 to 256",
        ),
        (
            |_, map| map.element_strides = vec![1.into(), 9.into()],
            "element stride 1 of the tensor map is 9, but must be 1 to 8",
        ),
        (
            |_, map| map.strides[0] = 24.into(),
            "a stride of the tensor map is 24 bytes, but must be a multiple of 16",
        ),
        (
            |_, map| map.box_dims[0] = 12.into(),
            "the width of the box of the tensor map is 24 bytes, but must be a multiple of 16",
        ),
        (
            |_, map| map.box_dims[0] = 128.into(),
            "the box of the tensor map is 256 bytes wide, but a swizzle of 128 bytes allows 128",
        ),
        (
            |_, map| (map.element, map.fill) = (Some(MapElement::U16), MapFill::Nan),
            "a tensor map of integers cannot be filled with NaN",
        ),
        (|_, map| map.swizzle = MapSwizzle::Bytes128Atom32, "a tensor map with this swizzle needs sm_100"),
    ];
    for (change, message) in rows {
        let error = plan(change).check_against(&bound(RMSNORM)).expect_err(message);
        assert_eq!(error.to_string(), format!("{at}: {message}"));
    }
    let large = plan(|_, map| {
        (map.swizzle, map.box_dims) = (MapSwizzle::None, vec![256.into(), 256.into()]);
        map.element = Some(MapElement::F64);
    });
    let error = large.check_against(&bound(RMSNORM)).expect_err("512 KiB");
    let PlanError::TensorMap { fault, .. } = error else { panic!("{error}") };
    assert!(matches!(*fault, TensorMapFault::Box { bytes: 524_288, .. }), "{fault}");
    let first = plan(|variant, _| variant.launches[0].programmatic = true);
    let error = first.check_against(&bound(RMSNORM)).expect_err("it is the first");
    assert_eq!(
        error.to_string(),
        format!(
            "{place}, launch 0: the first launch cannot be programmatic: it has no launch before it to overlap with"
        )
    );
}

#[test]
fn tensor_maps_at_given_sizes() {
    let layout = map().layout(Some(DType::BF16)).expect("it has a dtype");
    let numbers = |n: i64, m: i64, stride: i64, offset: i64| TensorMapNumbers {
        offset,
        dims: vec![n, m],
        strides: vec![stride],
        box_dims: vec![64, 8],
        element_strides: Vec::new(),
    };
    let shape = layout.shape(&numbers(40, 3, 80, 0), 240).expect("it fits exactly");
    assert_eq!((shape.end(), shape.element_strides.as_slice()), (240, [1, 1].as_slice()));
    assert_eq!(
        layout.shape(&numbers(40, 3, 80, 16), 240),
        Err(TensorMapFault::Beyond { end: 256, bytes: 240 })
    );
    // The last row ends where its elements do, not where the next would begin.
    assert!(layout.shape(&numbers(36, 3, 80, 0), 232).is_ok());
    for (numbers, what) in [
        (numbers(0, 3, 80, 0), "extent 0"),
        (numbers(40, i64::MAX, 80, 0), "extent 1"),
        (numbers(40, 3, 84, 0), "a stride"),
        (numbers(40, 3, -16, 0), "stride 1"),
        (numbers(40, 3, 1 << 40, 0), "stride 1"),
        (numbers(40, 3, 80, -16), "the offset"),
    ] {
        let fault = layout.shape(&numbers, u64::MAX).expect_err(what).to_string();
        assert!(fault.starts_with(what), "{fault}");
    }
}
