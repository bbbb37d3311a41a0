//! `parse(print(x)) == x` for drawn trees.

use factory_ptx::ast::*;
use factory_ptx::parse;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_$]{0,6}|[$%_][A-Za-z0-9_$]{1,6}"
        .prop_filter("`generic(` opens an address", |name| name != "generic")
}

fn word() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9_]{0,5}(::[a-zA-Z0-9]{1,5})?"
}

fn integer() -> impl Strategy<Value = i128> {
    prop_oneof![any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from), (-9i128..100)]
}

fn register() -> impl Strategy<Value = Operand> {
    prop_oneof![4 => name().prop_map(Operand::Name), 1 => (name(), "[xyzw]").prop_map(|(n, c)| Operand::Name(format!("{n}.{c}")))]
}

fn leaf() -> impl Strategy<Value = Operand> {
    let base = prop_oneof![3 => name().prop_map(AddressBase::Name), 1 => Just(AddressBase::Absolute)];
    prop_oneof![
        4 => register(),
        2 => integer().prop_map(Operand::Integer),
        1 => any::<u32>().prop_map(Operand::F32),
        1 => any::<u64>().prop_map(Operand::F64),
        3 => (base, any::<i64>()).prop_map(|(base, offset)| Operand::Address { base, offset }),
        1 => Just(Operand::Discard),
        1 => (name(), any::<i64>()).prop_map(|(name, offset)| Operand::SymbolOffset { name, offset }),
        1 => (name(), any::<i64>()).prop_map(|(name, index)| Operand::Element { name, index }),
        1 => register().prop_map(|inner| Operand::Not(Box::new(inner))),
        1 => (register(), prop_oneof![register(), Just(Operand::Discard)])
            .prop_map(|(a, b)| Operand::Pair(Box::new(a), Box::new(b))),
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5).prop_map(Operand::Vector),
            (name(), prop::collection::vec(inner, 1..3)).prop_map(|(name, rest)| {
                let mut parts = vec![Operand::Name(name)];
                parts.extend(rest);
                Operand::TensorAddress(parts)
            }),
        ]
    })
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let guard =
        prop::option::of((any::<bool>(), name()).prop_map(|(negated, register)| Guard { negated, register }));
    let plain = ("[a-z][a-z0-9]{0,5}", prop::collection::vec(operand(), 0..5));
    let call = prop::collection::vec(prop::collection::vec(leaf(), 0..3).prop_map(Operand::Group), 1..3)
        .prop_map(|groups| ("call".to_owned(), groups));
    let body = prop_oneof![5 => plain, 1 => call];
    (guard, body, prop::collection::vec(word(), 0..4)).prop_map(|(guard, (opcode, operands), modifiers)| {
        Instruction { guard, opcode, modifiers, operands, span: Span::default() }
    })
}

fn ty() -> impl Strategy<Value = Type> {
    let all: Vec<Type> = Type::ALL.iter().copied().filter(|ty| ty.is_fundamental()).collect();
    prop::sample::select(all)
}

fn initializer() -> impl Strategy<Value = Initializer> {
    let symbol = || {
        (name(), any::<i64>(), any::<bool>()).prop_map(|(name, offset, generic)| Initializer::Symbol {
            name,
            offset,
            generic,
        })
    };
    let leaf = prop_oneof![
        integer().prop_map(Initializer::Integer),
        any::<u32>().prop_map(Initializer::F32),
        any::<u64>().prop_map(Initializer::F64),
        symbol(),
        (1u64.., symbol()).prop_map(|(mask, symbol)| Initializer::Mask { mask, symbol: Box::new(symbol) }),
    ];
    leaf.prop_recursive(3, 10, 4, |inner| prop::collection::vec(inner, 1..4).prop_map(Initializer::List))
}

fn variable(space: Space) -> impl Strategy<Value = Variable> {
    let attribute = prop_oneof![
        Just(Attribute::Managed),
        (any::<u64>(), any::<u64>()).prop_map(|(high, low)| Attribute::Unified(high, low))
    ];
    let pointer = (prop::option::of(Just(Space::Global)), prop::option::of(Just(8u32)))
        .prop_map(|(space, align)| PointerAttribute { space, align });
    let kind = (ty(), prop::option::of(prop::sample::select(vec![2u8, 4, 8])), prop::option::of(0u32..10));
    let shape = (prop::option::of(1u32..1000), prop::collection::vec(prop::option::of(any::<u64>()), 0..3));
    let rest =
        (prop::option::of(initializer()), prop::collection::vec(attribute, 0..2), prop::option::of(pointer));
    (kind, shape, rest, name()).prop_map(
        move |((ty, vector, align), (range, array), (init, attributes, pointer), name)| Variable {
            space,
            linking: None,
            attributes,
            align: align.map(|power| 1 << power),
            vector,
            ty,
            pointer,
            name,
            range,
            array,
            init,
            span: Span::default(),
        },
    )
}

fn directive() -> impl Strategy<Value = Directive> {
    let names = || prop::collection::vec(name(), 1..4);
    let inlined = (name(), any::<i64>(), any::<(u32, u32, u32)>())
        .prop_map(|(function, offset, at)| Inlined { function, offset, at });
    prop_oneof![
        (any::<(u32, u32, u32)>(), prop::option::of(inlined)).prop_map(|((file, line, column), inlined)| {
            Directive::Loc(Location { file, line, column, inlined })
        }),
        prop::collection::vec("[a-z ]{0,8}", 1..3).prop_map(Directive::Pragma),
        (name(), names()).prop_map(|(label, targets)| Directive::BranchTargets {
            label,
            targets,
            span: Span::default()
        }),
        (name(), names()).prop_map(|(label, targets)| Directive::CallTargets {
            label,
            targets,
            span: Span::default()
        }),
        (name(), prop::collection::vec(variable(Space::Param), 0..2)).prop_map(|(label, params)| {
            let directives = vec![FunctionDirective::NoReturn];
            let span = Span::default();
            Directive::CallPrototype(CallPrototype {
                label,
                returns: params.clone(),
                params,
                directives,
                span,
            })
        }),
    ]
}

fn statement() -> impl Strategy<Value = Statement> {
    let leaf = prop_oneof![
        6 => instruction().prop_map(Statement::Instruction),
        1 => name().prop_map(|name| Statement::Label(name, Span::default())),
        1 => variable(Space::Reg).prop_map(Statement::Variable),
        1 => variable(Space::Shared).prop_map(Statement::Variable),
        1 => directive().prop_map(Statement::Directive),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Statement::Block))
}

fn function() -> impl Strategy<Value = Function> {
    use FunctionDirective as D;
    let extents = || prop::collection::vec(1u32..1024, 1..4);
    let directive = prop_oneof![
        extents().prop_map(D::MaxNTid),
        extents().prop_map(D::ReqNTid),
        extents().prop_map(D::ReqNCtaPerCluster),
        any::<u32>().prop_map(D::MinNCtaPerSm),
        any::<u32>().prop_map(D::MaxNReg),
        any::<u32>().prop_map(D::MaxClusterRank),
        Just(D::NoReturn),
        Just(D::ExplicitCluster),
        Just(D::BlocksAreClusters),
        Just(D::Pragma(vec!["nounroll".to_owned()])),
    ];
    let linking =
        prop::option::of(prop::sample::select(vec![Linking::Visible, Linking::Extern, Linking::Weak]));
    let body = prop::option::of(prop::collection::vec(statement(), 0..8));
    let params = || prop::collection::vec(variable(Space::Param), 0..3);
    (linking, any::<bool>(), name(), (params(), params()), prop::collection::vec(directive, 0..3), body)
        .prop_map(|(linking, entry, name, (returns, params), directives, body)| Function {
            kind: if entry { FunctionKind::Entry } else { FunctionKind::Func },
            linking,
            attributes: Vec::new(),
            name,
            returns: if entry { Vec::new() } else { returns },
            params,
            directives,
            body,
            span: Span::default(),
        })
}

fn item() -> impl Strategy<Value = Item> {
    let value = prop_oneof![
        integer().prop_map(SectionValue::Integer),
        ("\\.?[a-z][a-z_]{0,5}", any::<i64>()).prop_map(|(name, offset)| SectionValue::Symbol(name, offset)),
        (name(), name()).prop_map(|(a, b)| SectionValue::Difference(a, b)),
    ];
    let line = prop_oneof![
        name().prop_map(SectionLine::Label),
        (prop::sample::select(vec![Type::B8, Type::B32, Type::B64]), prop::collection::vec(value, 1..4))
            .prop_map(|(ty, values)| SectionLine::Data { ty, values }),
    ];
    prop_oneof![
        3 => function().prop_map(Item::Function),
        2 => variable(Space::Global).prop_map(Item::Variable),
        1 => ("\\.[a-z_]{1,8}", prop::collection::vec(line, 0..4))
            .prop_map(|(name, lines)| Item::Directive(Directive::Section { name, lines })),
        1 => (any::<u32>(), "[a-z/. ]{0,12}", prop::option::of(any::<(u64, u64)>()))
            .prop_map(|(index, name, stamp)| Item::Directive(Directive::File { index, name, stamp })),
        1 => (name(), name()).prop_map(|(name, target)| Item::Directive(Directive::Alias { name, target, span: Span::default() })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_and_parsing_give_the_same_tree(
        version in (1u32..20, 0u32..10),
        target in prop::collection::vec("sm_[0-9]{2,3}[af]?|debug", 1..3),
        items in prop::collection::vec(item(), 0..5),
    ) {
        let module = Module { version, target, address_size: 64, items };
        let printed = module.to_string();
        let again = parse(&printed).map_err(|errors| TestCaseError::fail(format!("{errors}\n{printed}")))?;
        prop_assert_eq!(&again, &module, "{}", printed);
    }
}
