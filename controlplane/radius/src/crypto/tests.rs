use super::*;
use hex_literal::hex;
use proptest::prelude::*;

#[test]
fn hmac_md5_is_that_of_rfc_2202() {
    assert_eq!(hmac_md5(&[0x0b; 16], &[b"Hi ", b"There"]), hex!("9294727a3638bb1c13f48ef8158bfc9d"));
    assert_eq!(hmac_md5(b"Jefe", &[b"what do ya want for nothing?"]), hex!("750c783e6ab0b503eaa86e310a5db738"));
    assert_eq!(hmac_md5(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]), {
        hex!("6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd")
    });
}

#[test]
fn the_password_of_rfc_2865_is_hidden() {
    let authenticator = hex!("0f403f9473978057bd83d5cb98f4227a");
    let hidden = hide_password(b"xyzzy5461", &authenticator, b"arctangent").unwrap();
    assert_eq!(hidden, hex!("0dbe708d93d413ce3196e43f782a0aee"));
    assert_eq!(reveal_password(b"xyzzy5461", &authenticator, &hidden), Some(Secret::new("arctangent")));
    assert_ne!(reveal_password(b"xyzzy5462", &authenticator, &hidden), Some(Secret::new("arctangent")));
}

#[test]
fn impossible_hidden_values_are_refused() {
    for length in [0, 1, 15, 17, 144] {
        assert_eq!(reveal_password(b"s", &[0; 16], &vec![0; length]), None, "{length}");
    }
    for length in [0, 1, 2, 3, 17, 19] {
        assert_eq!(reveal_salted(b"s", &[0; 16], &vec![0; length]), None, "{length}");
    }
    assert_eq!(hide_password(b"s", &[0; 16], &[1; 129]), None);
    assert_eq!(hide_salted(b"s", &[0; 16], [0; 2], &[1; 240]), None);
    assert!(hide_salted(b"s", &[0; 16], [0; 2], &[1; 239]).is_some_and(|hidden| hidden.len() == 242));
}

proptest! {
    #[test]
    fn hidden_passwords_are_revealed(
        secret in proptest::collection::vec(any::<u8>(), 0..40),
        authenticator in any::<[u8; 16]>(),
        password in proptest::collection::vec(1u8.., 0..=128),
    ) {
        let hidden = hide_password(&secret, &authenticator, &password).unwrap();
        prop_assert!(hidden.len().is_multiple_of(16) && !hidden.is_empty());
        prop_assert_eq!(reveal_password(&secret, &authenticator, &hidden), Some(Secret::new(password)));
    }

    #[test]
    fn salted_values_are_revealed(
        secret in proptest::collection::vec(any::<u8>(), 0..40),
        authenticator in any::<[u8; 16]>(),
        salt in any::<[u8; 2]>(),
        value in proptest::collection::vec(any::<u8>(), 0..=239),
    ) {
        let hidden = hide_salted(&secret, &authenticator, salt, &value).unwrap();
        prop_assert!(hidden[0] & 0x80 != 0);
        prop_assert_eq!(reveal_salted(&secret, &authenticator, &hidden), Some(Secret::new(value)));
    }

    #[test]
    fn any_hidden_value_is_survived(hidden in proptest::collection::vec(any::<u8>(), 0..60)) {
        reveal_salted(b"secret", &[7; 16], &hidden);
        reveal_password(b"secret", &[7; 16], &hidden);
    }
}
