//! How the list of cases becomes tests.

/// Declares every case once: as an entry of `CASES` and as a test in `suite!` and `suite_faulty!`.
macro_rules! catalogue {
    (($d:tt)
        steps { $( $steps:ident $step_needs:tt { $($step:ident),* $(,)? } )* }
        api { $( $api:ident $api_needs:tt { $($act:ident),* $(,)? } )* }
    ) => {
        $( mod $steps; )*
        $( mod $api; )*

        /// Every case there is.
        pub static CASES: &[Case] = &[
            $( $( Case {
                name: concat!(stringify!($steps), "::", stringify!($step)),
                needs: &$step_needs,
                run: |world| Box::pin($steps::$step(world)),
            }, )* )*
            $( $( Case {
                name: concat!(stringify!($api), "::", stringify!($act)),
                needs: &$api_needs,
                run: |world| Box::pin($api::$act(world)),
            }, )* )*
        ];

        /// Makes every case a test of its own over a driver: `suite!(an_expression_that_makes_a_harness)`,
        /// evaluated anew for each case.
        #[macro_export]
        macro_rules! suite {
            ($d harness:expr) => {
                mod suite {
                    #[allow(unused_imports)]
                    use super::*;
                    #[test]
                    fn counts_its_cases() {
                        $crate::count($crate::Weather::Clear, &|| ::std::boxed::Box::new($d harness));
                    }
                }
                $( mod $steps {
                    #[allow(unused_imports)]
                    use super::*;
                    $( #[test]
                    fn $step() {
                        let name = concat!(stringify!($steps), "::", stringify!($step));
                        $crate::run(name, $crate::Weather::Clear, &|| ::std::boxed::Box::new($d harness));
                    } )*
                } )*
                $( mod $api {
                    #[allow(unused_imports)]
                    use super::*;
                    $( #[test]
                    fn $act() {
                        let name = concat!(stringify!($api), "::", stringify!($act));
                        $crate::run(name, $crate::Weather::Clear, &|| ::std::boxed::Box::new($d harness));
                    } )*
                } )*
            };
        }

        /// The same for the cases of the public API, with a bad network between core and the driver.
        #[macro_export]
        macro_rules! suite_faulty {
            ($d harness:expr) => {
                mod suite {
                    #[allow(unused_imports)]
                    use super::*;
                    #[test]
                    fn counts_its_cases() {
                        $crate::count($crate::Weather::Faulty, &|| ::std::boxed::Box::new($d harness));
                    }
                }
                $( mod $api {
                    #[allow(unused_imports)]
                    use super::*;
                    $( #[test]
                    fn $act() {
                        let name = concat!(stringify!($api), "::", stringify!($act));
                        $crate::run(name, $crate::Weather::Faulty, &|| ::std::boxed::Box::new($d harness));
                    } )*
                } )*
            };
        }
    };
}

pub(crate) use catalogue;
