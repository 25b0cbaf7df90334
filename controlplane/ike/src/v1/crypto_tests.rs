use super::super::captures::{MAIN_3, MAIN_4, MAIN_5, MAIN_6, QUICK_1, QUICK_2, QUICK_3};
use super::super::message::Exchange;
use super::super::payload::{Body, kind};
use super::*;
use crate::payload::PayloadType;
use crate::proposal::ke;
use hex_literal::hex;
use proptest::prelude::*;

const AES_SHA1: Phase1Suite = Phase1Suite { encr: (encr::AES_CBC, 256), hash: Hash::Sha1, group: ke::MODP_2048 };
const DES_SHA1: Phase1Suite = Phase1Suite { encr: (encr::TRIPLE_DES, 0), hash: Hash::Sha1, group: ke::MODP_1024 };
const AES_SHA256: Phase1Suite = Phase1Suite { encr: (encr::AES_CBC, 128), hash: Hash::Sha256, group: ke::ECP_384 };
const AES_SHA512: Phase1Suite = Phase1Suite { encr: (encr::AES_CBC, 256), hash: Hash::Sha512, group: ke::ECP_384 };

fn shared() -> Shared {
    Shared {
        g_xi: (1..97).collect(),
        g_xr: (101..197).collect(),
        g_xy: Secret::new(vec![0x42; 48]),
        ni: vec![b'N'; 16],
        nr: vec![b'R'; 20],
        cookie_i: 0x0102_0304_0506_0708,
        cookie_r: 0x1112_1314_1516_1718,
    }
}

// A capture of 2012 and the values pluto logged with it: the key out of SKEYID_e, the vectors of phase 1 and of quick mode,
// and what the messages decrypt to.
#[test]
fn a_captured_exchange_opens() {
    let skeyid_e = hex!("b01681215f16202303186d2814dc5686ca5a4733");
    let e = Hash::Sha1.expand(&skeyid_e, &[&[0]], &[], 24);
    assert_eq!(e[..], hex!("449e829ea966d421fbcb86bd7ad92e865abab15baa5c672a"));
    let none = || Secret::new(Vec::new());
    let keys = Keys { suite: DES_SHA1, cipher: Cipher::TripleDes, skeyid: none(), d: none(), a: none(), e };

    let ke = |message: &[u8]| {
        let body = Body::parse(kind::KE, message.get(HEADER_LEN..).unwrap(), false).unwrap();
        body.ke.unwrap().to_vec()
    };
    let mut iv = keys.first_iv(&Shared { g_xi: ke(MAIN_3), g_xr: ke(MAIN_4), ..shared() });
    assert_eq!(iv, hex!("dcf85e03f276abb9"));
    let fifth = keys.open(MAIN_5, &mut iv).unwrap();
    assert_eq!(fifth[..], hex!("0800000c01000000c0a88ccd000000183321b19237fb86a3231239d2049260d1b4a6e0e700000000"));
    let sixth = keys.open(MAIN_6, &mut iv).unwrap();
    assert_eq!(sixth[..], hex!("0800000c01000000c0a88cc8000000182f5c19d40ad3ae11e9fe5db7c3edb5f52edf33eb00000000"));

    let mut iv = keys.later_iv(&iv, Header::parse(QUICK_1).unwrap().message_id);
    let plain: Vec<_> = [QUICK_1, QUICK_2, QUICK_3].iter().map(|m| keys.open(m, &mut iv).unwrap()).collect();
    for (plain, id) in plain.iter().zip([0x0879_355b, 0x1c0d_7b38]) {
        let body = Body::parse(kind::HASH, plain, true).unwrap();
        assert!(body.hash_first);
        let proposals = super::super::sa_payload::parse(body.sa.unwrap()).unwrap();
        assert_eq!(proposals[0].esp_spi(), Some(id));
    }
    assert_eq!(plain[2][..], hex!("0000001854eb8bbec14d67b5dc356a19d1096eb0288318b0"));
}

// Expected values by python's hmac, hashlib and cryptography, from the formulas of RFC 2409.
#[test]
fn schedule_against_another_implementation() {
    struct Expected<'a> {
        d: &'a [u8],
        a: &'a [u8],
        e: &'a [u8],
        hash_i: &'a [u8],
        hash_r: &'a [u8],
        message: &'a [u8],
        iv: &'a [u8],
        keymat: &'a [u8],
        keymat_pfs: &'a [u8],
        hashes: [&'a [u8]; 3],
    }
    let check = |keys: Keys, expected: Expected<'_>| {
        let shared = shared();
        assert_eq!((&keys.d[..], &keys.a[..], &keys.e[..]), (expected.d, expected.a, expected.e));
        let id = hex!("01000000c0000201");
        assert_eq!(keys.proof(&shared, true, b"SA body", &id)[..], *expected.hash_i);
        assert_eq!(keys.proof(&shared, false, b"SA body", &id)[..], *expected.hash_r);
        let header = Header {
            cookie_i: shared.cookie_i,
            cookie_r: shared.cookie_r,
            next: PayloadType::NONE,
            exchange: Exchange::MAIN,
            encrypted: false,
            message_id: 0,
        };
        let mut chain = Builder::new();
        chain.raw(kind::ID, &id).raw(kind::HASH, &[0x55; 20]);
        let mut iv = keys.first_iv(&shared);
        let message = keys.seal(header, &chain, &mut iv).unwrap();
        assert_eq!(message, expected.message);
        assert_eq!(iv, message[message.len() - keys.cipher.block()..]);
        assert_eq!(keys.later_iv(&iv, 0xdead_beef), expected.iv);
        assert_eq!(keys.keymat(None, 0xc0ff_ee01, &shared.ni, &shared.nr, 52)[..], *expected.keymat);
        assert_eq!(keys.keymat(Some(&[0x77; 32]), 0xc0ff_ee01, &shared.ni, &shared.nr, 52)[..], *expected.keymat_pfs);
        let hashes = [
            keys.hash1(0xdead_beef, b"rest"),
            keys.hash2(0xdead_beef, &shared.ni, b"rest"),
            keys.hash3(0xdead_beef, &shared.ni, &shared.nr),
        ];
        assert!(hashes.iter().zip(expected.hashes).all(|(a, b)| a[..] == *b));
    };
    check(
        Keys::psk(AES_SHA1, &shared(), b"secret").unwrap(),
        Expected {
            d: &hex!("11a35ee5bd711e1f464b18ac54c5c9f8d3cc3a2c"),
            a: &hex!("6fb323c164bc977958d0c34da13e2eeaea3052d7"),
            e: &hex!("9db57345021a347cfcdd9c918a4dab362c218ad720ee195832175f3f41d3cce7"),
            hash_i: &hex!("08676fd68131ac2879540fb7214032a1b82024b3"),
            hash_r: &hex!("f3df34034d1a50ec466860c47f589a93cbeec790"),
            message: &hex!(
                "0102030405060708111213141516171805100201000000000000004c961ba2336b3176388c4e4f2c848be5c9"
                "0722f307ffca1e2d51d34062cdea9c233aa3400de5c656cf6c34af24ff3d65cd"
            ),
            iv: &hex!("0ab434cc55d0f51acc2232ac7677f603"),
            keymat: &hex!(
                "6242b7f941c8f6dd01a3e5e392bddc3c59a65381da2d5e8c0cff52d360dc8d26e6b54363fd10962c6d35f048"
                "532d08a0af01c306"
            ),
            keymat_pfs: &hex!(
                "eaffae2e39d0a0f3bd918123d069da5953212192f0436207d721f1c9987d604c41af9a6dda497156137e496c"
                "eef7750bcf557db9"
            ),
            hashes: [
                &hex!("572bd22d3fdf5a773e052cf3ba7716af2a253835"),
                &hex!("00c13bd0de85257a08e733381c5cf36622eae5fe"),
                &hex!("87b36d30bfe095d024758296be10c775eefe60dd"),
            ],
        },
    );
    check(
        Keys::psk(DES_SHA1, &shared(), b"secret").unwrap(),
        Expected {
            d: &hex!("11a35ee5bd711e1f464b18ac54c5c9f8d3cc3a2c"),
            a: &hex!("6fb323c164bc977958d0c34da13e2eeaea3052d7"),
            e: &hex!("9db57345021a347cfcdd9c918a4dab362c218ad720ee1958"),
            hash_i: &hex!("08676fd68131ac2879540fb7214032a1b82024b3"),
            hash_r: &hex!("f3df34034d1a50ec466860c47f589a93cbeec790"),
            message: &hex!(
                "0102030405060708111213141516171805100201000000000000004481e2108b124a53c0dce7284115ade861"
                "d0de2dfc24b8269c7a5a07de5ffde5e5124570563b37f49c"
            ),
            iv: &hex!("d8041fe427f8bba3"),
            keymat: &hex!(
                "6242b7f941c8f6dd01a3e5e392bddc3c59a65381da2d5e8c0cff52d360dc8d26e6b54363fd10962c6d35f048"
                "532d08a0af01c306"
            ),
            keymat_pfs: &hex!(
                "eaffae2e39d0a0f3bd918123d069da5953212192f0436207d721f1c9987d604c41af9a6dda497156137e496c"
                "eef7750bcf557db9"
            ),
            hashes: [
                &hex!("572bd22d3fdf5a773e052cf3ba7716af2a253835"),
                &hex!("00c13bd0de85257a08e733381c5cf36622eae5fe"),
                &hex!("87b36d30bfe095d024758296be10c775eefe60dd"),
            ],
        },
    );
    check(
        Keys::signature(AES_SHA256, &shared()).unwrap(),
        Expected {
            d: &hex!("7f2bf2613a039330ae35c360b8fe444b82ce8bbc97c08484cb7c57de95f248c4"),
            a: &hex!("89e46b0b4e857b445130c0a81162da687908b64b285efa29dd2414d371223fdf"),
            e: &hex!("e5a0a2cc5932df90e152000ddec40b22"),
            hash_i: &hex!("6550e6e295619aa1ee2bbc41952f83519182dbe8cbe141169cb76fa7bc042cba"),
            hash_r: &hex!("13078022a5458bb344ac89941fe724179fa0e5815a54266732cd060ff59a8333"),
            message: &hex!(
                "0102030405060708111213141516171805100201000000000000004c5d3314216e054764a63af6c43b30727e"
                "ff9d2fa030b774e9843d636675f411b119aee0e43ea5609ed72c82e16912a859"
            ),
            iv: &hex!("c733223ba2842b43a43a33043f568b28"),
            keymat: &hex!(
                "593921779700038fdad4a5bee957730e2b82a3cca3af74bb385b78a81a810d07a2323d5bd6a53caed13bc425"
                "33118124fdf5c14e"
            ),
            keymat_pfs: &hex!(
                "657fd7bd424850138bdcc39ee87ab1594637bed9b3e00620d6805df9801adceaea5af8c4160de3c631c4f53f"
                "0c9f14cc2358cb0a"
            ),
            hashes: [
                &hex!("b5a86a9623109911353b01f762d31fe74a107fca23340b4cc35a6a0d49728911"),
                &hex!("93ca1443035c6a55a1b6347332e26411830bdc00f73a9b47828a80c6fbc2f5e8"),
                &hex!("597f8d91bdc23dc8452e8128cf4ca5653013553683fe301d3d2f77e5d6365bd8"),
            ],
        },
    );
    check(
        Keys::psk(AES_SHA512, &shared(), b"secret").unwrap(),
        Expected {
            d: &hex!(
                "e91347a8454b9937a1ea636afa01ea6912e9b078243316d15cc454e0c9acd76d07764fc98d37e6c5c0a74594"
                "daeb6bcb85e0e54f339c9eccd1e0fb058ddb819c"
            ),
            a: &hex!(
                "84cc9651cdaae1ee36269b2ae1de6323c6c4954bd0c5ddbe0029ad4e0c9307b49e3445fc0d4b95d4ef4fde44"
                "30d38a912b262b0cff47c191d7540bc8e105a4ef"
            ),
            e: &hex!("7554dd5799f6440f84d1692cf1141f413a4d915353b01b6e134dccc0b0ff295c"),
            hash_i: &hex!(
                "aa837e696379bcd85f49db33dba687d6ba04aedc0c0e997c20bef8cf0922a8adba9e7e51d761b46f93e2a57f"
                "43e0475c30113da4bbcb66d4f338e4249cb45df3"
            ),
            hash_r: &hex!(
                "2d0bcdc55c4ce40de56fd2084de5786b5a78377df6362a6bdf24e307c5cfe36959160f6de6efdb2185537f62"
                "e4ab45fb93bd4d62e83b171a1d469f261a7d98b1"
            ),
            message: &hex!(
                "0102030405060708111213141516171805100201000000000000004c06c39835b3621ff3f375a0a504d40b03"
                "9ea3bdd66f010baf0bd8bcd5ed3e7477b162e1526208d32af83ffa83ee2ac0ff"
            ),
            iv: &hex!("6ce9df141bfb2199711db83c3b7a45bb"),
            keymat: &hex!(
                "2da7730707685f1f12b5b5d3007f93a1eda0f399ede854dec4f4a9e99936133d0b9053190772f1dd2c2a968d"
                "89320f182eec0ae5"
            ),
            keymat_pfs: &hex!(
                "abbe59cd8da66b673ffd73b953046bc2adf7e3afc2b135ed59145322ffe5f0426205b834d371b9b4e3164ba8"
                "253b65ad48c11eb8"
            ),
            hashes: [
                &hex!(
                    "8abe81f41aa38170eede35b868801db842979d5f391e5aeac9224aee47cbf8ec4afd149d7a5ce041a04a61c8"
                    "4c148e96a1089688d6b1eadfd0f5159a2eb6456d"
                ),
                &hex!(
                    "d7baba37c479443af0a164ec18a783ce810410414ce4873d38943c3f8feae49f8524508bcfd8df82fae2daa6"
                    "3b7e071ccbb36f86fcdc4d6167395499a9e62aae"
                ),
                &hex!(
                    "4810662719a7e77a0c2e8a487025916f4df381eb4e109eb27df45168372b92d7fa7ef2b374959b5f78c42d47"
                    "6b23375e420d1d31b6e51d163bcc4f094d84b89c"
                ),
            ],
        },
    );
}

#[test]
fn what_does_not_exist_has_no_keys() {
    let gcm = Phase1Suite { encr: (encr::AES_GCM_16, 128), ..AES_SHA1 };
    assert_eq!(Keys::psk(gcm, &shared(), b"x").unwrap_err(), CryptoError::Library);
    assert_eq!(Cipher::of((encr::TRIPLE_DES, 192)), None);
    // A weak key, and one that is no more than DES.
    assert_eq!(Cipher::TripleDes.encrypt(&[1; 24], &[0; 8], &[0; 8]), None);
    assert_eq!(Cipher::TripleDes.encrypt(&hex!("0123456789abcdef").repeat(3), &[0; 8], &[0; 8]), None);
}

// NIST SP 800-38A, F.2.1 and F.2.5: the first block.
#[test]
fn cbc_of_nist() {
    let iv = hex!("000102030405060708090a0b0c0d0e0f");
    let plain = hex!("6bc1bee22e409f96e93d7e117393172a");
    let key = hex!("2b7e151628aed2a6abf7158809cf4f3c");
    assert_eq!(Cipher::Aes128.encrypt(&key, &iv, &plain).unwrap(), hex!("7649abac8119b246cee98e9b12e9197d"));
    let key = hex!("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    assert_eq!(Cipher::Aes256.encrypt(&key, &iv, &plain).unwrap(), hex!("f58c4c04d6e5f1ba779eabfb5f7bfbd6"));
}

#[test]
fn secrets_are_not_shown() {
    let keys = Keys::psk(AES_SHA1, &shared(), b"secret").unwrap();
    assert_eq!(format!("{:?}{keys:?}", shared()), "Shared(..)Keys(..)");
}

// Every octet of what the proof is over counts, and each side has its own.
#[test]
fn a_proof_binds_everything() {
    let keys = Keys::psk(AES_SHA256, &shared(), b"secret").unwrap();
    let good = keys.proof(&shared(), true, b"sa", b"id");
    let changed: [fn(&mut Shared); 4] =
        [|s| s.g_xi[0] ^= 1, |s| s.g_xr[0] ^= 1, |s| s.cookie_i ^= 1, |s| s.cookie_r ^= 1];
    for change in changed {
        let mut other = shared();
        change(&mut other);
        assert_ne!(keys.proof(&other, true, b"sa", b"id"), good);
    }
    assert_ne!(keys.proof(&shared(), true, b"sb", b"id"), good);
    assert_ne!(keys.proof(&shared(), true, b"sa", b"ie"), good);
    assert_ne!(keys.proof(&shared(), false, b"sa", b"id"), good);
    let others = [b"Secret".as_slice(), b""].map(|psk| Keys::psk(AES_SHA256, &shared(), psk).unwrap());
    assert!(others.iter().all(|k| k.proof(&shared(), true, b"sa", b"id") != good));
}

proptest! {
    // Both ends keep the same vector over any number of messages, and whole blocks are all that can be opened.
    #[test]
    fn messages_round_trip(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..5), which in 0usize..3) {
        let suite = [AES_SHA1, DES_SHA1, AES_SHA512][which];
        let keys = Keys::psk(suite, &shared(), b"secret").unwrap();
        let header = Header { cookie_i: 1, cookie_r: 2, next: PayloadType::NONE, exchange: Exchange::QUICK,
            encrypted: false, message_id: 9 };
        let (mut ours, mut theirs) = (keys.later_iv(b"last", 9), keys.later_iv(b"last", 9));
        for body in bodies {
            let mut chain = Builder::new();
            chain.raw(kind::HASH, &body);
            let message = keys.seal(header, &chain, &mut ours).unwrap();
            let parsed = Header::parse(&message).unwrap();
            prop_assert!(parsed.encrypted && parsed.next == kind::HASH);
            let plain = keys.open(&message, &mut theirs).unwrap();
            prop_assert_eq!(&plain[..chain.bytes().len()], chain.bytes());
            // RFC 2409, appendix B.
            let (pad, zeros) = plain[chain.bytes().len()..].split_last().unwrap();
            prop_assert!(usize::from(*pad) == zeros.len() && zeros.iter().all(|z| *z == 0));
            prop_assert_eq!(&ours, &theirs);
            let before = theirs.clone();
            prop_assert!(keys.open(&message[..message.len() - 1], &mut theirs).is_none());
            prop_assert!(keys.open(&message[..HEADER_LEN], &mut theirs).is_none());
            prop_assert_eq!(&before, &theirs);
        }
    }

    #[test]
    fn garbage(message in proptest::collection::vec(any::<u8>(), 0..120)) {
        let keys = Keys::signature(DES_SHA1, &shared()).unwrap();
        let mut iv = keys.first_iv(&shared());
        let opened = keys.open(&message, &mut iv).is_some();
        prop_assert_eq!(opened, message.len() > HEADER_LEN && (message.len() - HEADER_LEN).is_multiple_of(8));
    }
}
