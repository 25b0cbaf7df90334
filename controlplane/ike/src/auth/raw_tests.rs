use super::*;
use crate::auth::Credential;
use hex_literal::hex;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

const HASH: &[u8] = b"hash of phase 1, 20.";

// Made by OpenSSL: `pkeyutl -sign` without a digest pads the octets it gets by PKCS #1 v1.5.
#[test]
fn a_signature_of_another_implementation() {
    let certificate = hex!(
        "30820305308201eda0030201020214701c9de08ff913dbf0cb47d33805e266cade3fd3300d06092a864886f70d01010b05003011"
        "310f300d06035504030c06636c69656e743020170d3236313132363036323634375a180f32313236313130323036323634375a30"
        "11310f300d06035504030c06636c69656e7430820122300d06092a864886f70d01010105000382010f003082010a0282010100b3"
        "1112e78ff3a41b41f4ba8d95d85f34f903a529125d8e99253c54b2cbc28378d87948abb918a7ee60d29b2be4fdea84aef31dfb77"
        "b6ff9e6acbc52a148ee42ab3ce3d890baca63044ae1bcdd5b6d5eebf5128ac4d7b80ce13ddce93ca37f5ed71683ca37694306eb0"
        "61319c6594a7af59d5c2fe52d39dafd49fbfa8d90b9f2de42d3e06611a926e7a023699ca6a118722963b4847f41c85e92a818be4"
        "0f5794932377f833d6ba7aed016a359f79130e7c92736fbd8d2c57c6d42edf18382e309ca8db2510993d8961a953d6f7a81761ba"
        "8a31f2e142efbf910e0676092c1da9044e8c782aace4cf3ca7f2e0d42852b391d510ee6642e9a3ee0a11530c16887d0203010001"
        "a3533051301d0603551d0e04160414801438bb70d346a3fe2afce39631a2a9da4dc554301f0603551d23041830168014801438bb"
        "70d346a3fe2afce39631a2a9da4dc554300f0603551d130101ff040530030101ff300d06092a864886f70d01010b050003820101"
        "00534d69462e10a8cf293b75a993e468e82a0e7dd622bb550911a63d935021cad7ec24bfc8cae2b7eb971bfcd608fa38d91154ac"
        "8abaf230f4987261471c5cbd1f82fca1f9b6d4555bc665dfb75436e36ee3dd61e30c89be11d79516fce19fc48dd5f9c847cdd84f"
        "31deea341246af85e48941f9e3585457ba1f0e116b24274f057ecf2a0342b00f18e11fd9a553c3e841d2139a60b2efd7abd224e5"
        "f5d69b248aaa9100a7e43941dac71a1cf7755b8a86c63d7522f58268e7308f6527709da70192177909f65bcdf3a88de760286465"
        "7ede7400f6d44807573275f3f300e0acfc40698f7ad6897092653d7f770db5cf01fc7b287a217f87dff92089625e6075f9"
    );
    let signature = hex!(
        "a075e9efbe5adb8395980225281a6fc3f56923f98cf9e89c90318bb2a1fc39737cdc123b6cdf9d6fa43b1e6669c12f7714053a08"
        "b6452f9d1a96e98c4180a7d6a4b3ab839460d158cec51e1c425adc966fbf3394313e0b4db755cb6d1a00d142cafb9a522ea20c01"
        "91c7e128cf51edc77ac840039a250c445748f326476adda87962a941d51436736c46aac47b80bf6afa37e2bd61e50a82f6704bc3"
        "88edf6538e6e997b9185309cf7e387fbfa0f2f785719ce2b34ddc414a21d81d521ffba81ae4696c55143a7b8503ec04b56ee1834"
        "a8537159e877e3b7bfc0f54b56bfcc07bc7972015ec40bca01347a1f14939e1032659a7ade12c71a0c3522e8936cbc85"
    );
    assert_eq!(verify_raw(&certificate, HASH, &signature), Ok(()));
    assert_eq!(verify_raw(&certificate, &HASH[..19], &signature), Err(AuthError::Signature));
    for at in [0, 100, 255] {
        let mut bent = signature;
        bent[at] ^= 1;
        assert_eq!(verify_raw(&certificate, HASH, &bent), Err(AuthError::Signature));
    }
    for bad in [&signature[1..], &[0; 256], &[0xff; 256], &[]] {
        assert_eq!(verify_raw(&certificate, HASH, bad), Err(AuthError::Signature));
    }
    assert!(matches!(verify_raw(&certificate[1..], HASH, &signature), Err(AuthError::Certificate(_))));
}

// The same with a key of 1024 bits.
#[test]
fn short_keys_are_refused() {
    let certificate = hex!(
        "3082020030820169a0030201020214518f84c3b83872516b51c4dc6f1e8d69c01696ea300d06092a864886f70d01010b05003011"
        "310f300d06035504030c06636c69656e743020170d3236313132363036323634375a180f32313236313130323036323634375a30"
        "11310f300d06035504030c06636c69656e7430819f300d06092a864886f70d010101050003818d0030818902818100a8285e68cf"
        "bd6e18bb2f666b004bc406170a0bbd059888614d37b9976074b3176072a4a93f3bc8c28138655b74d68f5e95ffc42a92546410c6"
        "cc13bbeae09bbca83c28188c2941029d81130a5556dbabc8cd67668350625fb278bae9fda255163aa2a3964b926d1512d7ea5760"
        "93764742719cdd3c41cd12756377d2972f271b0203010001a3533051301d0603551d0e0416041483132cc46ad41d82a0542553c9"
        "eb7e7979b25839301f0603551d2304183016801483132cc46ad41d82a0542553c9eb7e7979b25839300f0603551d130101ff0405"
        "30030101ff300d06092a864886f70d01010b0500038181003c90d490e72c80edf3c60e9d83210c1f0cfc7a3611ec80ab1c67fee1"
        "0cb6c97c83740bc7a8f397e17fd227559589a0e7ac8df6d5239d28bf371ac33bcf7104419f7265b7b310b24203c217fc8ca77e8f"
        "09ac2e5619643fb5e07f06245560bdcf3cf2b1b4dc311130ba68ac7463392727f39e75c8b1abb5a6e6f537a94c13a299"
    );
    let signature = hex!(
        "1df8083e3819fdcea246aec23e0dcb72a2d4b51936138dd5359cd75b8ea2bbaf0f2918d6d4c5a83f61daf2b46a0d20a9cdd36d94"
        "cfb8cff2e4a467cfd73de240d4ae4253a2abb75297e45d5c3ccab8269c1866d5783774c9c0ad141fbf1c604632f82cc404124d86"
        "170863626ec390be4025d4a8bf72bcbf279917be5bc6bd49"
    );
    assert_eq!(verify_raw(&certificate, HASH, &signature), Err(AuthError::Algorithm));
}

fn credential(key: &KeyPair) -> Credential {
    let certificate = CertificateParams::default().self_signed(key).unwrap();
    Credential::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

#[test]
fn what_we_sign_verifies() {
    let ours = credential(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());
    for hash in [HASH, &[7; 32], &[7; 64]] {
        let signature = ours.sign_raw(hash).unwrap();
        assert_eq!(verify_raw(&ours.chain()[0], hash, &signature), Ok(()));
        // No randomness but that of the blinding.
        assert_eq!(ours.sign_raw(hash).unwrap(), signature);
    }
    let other = credential(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());
    let signature = other.sign_raw(HASH).unwrap();
    assert_eq!(verify_raw(&ours.chain()[0], HASH, &signature), Err(AuthError::Signature));
}

#[test]
fn only_rsa_signs_and_verifies() {
    let ours = credential(&KeyPair::generate().unwrap());
    assert_eq!(ours.sign_raw(HASH), Err(AuthError::Algorithm));
    assert_eq!(verify_raw(&ours.chain()[0], HASH, &[1; 64]), Err(AuthError::Algorithm));
}
