//! The decoders of `tooz-zookeeper`: the first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let decoders = tooz_zookeeper::hostile::DECODERS;
    let Some((first, rest)) = bytes.split_first() else { return };
    if let Some((_, decode)) = decoders.get(usize::from(*first) % decoders.len()) {
        decode(rest);
    }
});
