#!/bin/sh
# Makes the certificates of the tests: an authority, a server at 127.0.0.1 and localhost (and, through a proxy of
# the test, one that stands in for mcr.microsoft.com), and a client. They prove
# nothing to anybody else, which is why the keys may lie here. Run it again if a library wants other keys.
set -eu
cd "$(dirname "$0")"
days=36500
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
key authority.key
openssl req -x509 -key authority.key -subj "/CN=imglint test authority" -days "$days" -out authority.pem
for who in server client; do
    key "$who.key"
    openssl req -new -key "$who.key" -subj "/CN=imglint test $who" -out "$who.csr"
    printf 'basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:mcr.microsoft.com,DNS:localhost\nextendedKeyUsage=%sAuth\n' "$who" > extensions
    openssl x509 -req -in "$who.csr" -CA authority.pem -CAkey authority.key -set_serial "0x$(openssl rand -hex 8)" \
        -days "$days" -extfile extensions -out "$who.pem"
done
rm -f ./*.csr extensions authority.key
