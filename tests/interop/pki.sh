#!/bin/bash
# pki.sh DIR - a throw-away certification authority, the certificates of the gateway, of RADIUS and of clients: RSA and ECDSA, and a
# revoked one with the CRL that says so. PEM files, by openssl.
set -eu
D=$1; [ ! -e "$D/ca.pem" ] || exit 0; mkdir -p "$D"; cd "$D"
{
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/O=Test/CN=Test CA" \
  -addext keyUsage=critical,keyCertSign,cRLSign
make() { # name, subjectAltName, key usage, key algorithm...
  local n=$1 san=$2 eku=$3; shift 3
  openssl req -newkey "$@" -nodes -keyout "$n.key" -out "$n.csr" -subj "/O=Test/CN=$n"
  openssl x509 -req -in "$n.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out "$n.pem" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=%s\nkeyUsage=digitalSignature\n' "$san" "$eku"); rm "$n.csr"; }
make gw DNS:gw.example.net serverAuth,1.3.6.1.5.5.8.2.2 rsa:2048
make radius DNS:radius.example.net,IP:10.9.0.2,IP:10.9.0.3,IP:fd09::2 serverAuth rsa:2048
make nas DNS:gw.example.net clientAuth rsa:2048
make carol email:carol@cert.example.net clientAuth rsa:2048
make dave email:dave@cert.example.net 1.3.6.1.5.5.7.3.17 ec -pkeyopt ec_paramgen_curve:P-256
make revoked email:revoked@cert.example.net clientAuth rsa:2048
: >index.txt; echo 01 >crlnumber
printf '%s\n' '[ca]' 'default_ca=d' '[d]' 'database=index.txt' 'crlnumber=crlnumber' 'default_md=sha256' 'default_crl_days=30' >ca.cnf
openssl ca -config ca.cnf -keyfile ca.key -cert ca.pem -revoke revoked.pem
openssl ca -config ca.cnf -keyfile ca.key -cert ca.pem -gencrl -out crl.pem
} >pki.log 2>&1 || { cat pki.log; exit 1; }
