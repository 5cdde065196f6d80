# Sourced: one certificate authority of its own in the folder $D, and those whom it lets in.

KEY=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
DAYS=30 # longer than any test cluster lives

make_authority() {
    openssl req -x509 "${KEY[@]}" -keyout "$D/ca.key" -out "$D/ca.crt" -subj /CN=test-cluster -days $DAYS 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out "$D/accounts.key"
    openssl ec -in "$D/accounts.key" -pubout -out "$D/accounts.pub" 2>/dev/null
}

make_certificate() { # NAME SUBJECT [ALTERNATIVE_NAMES]
    openssl req "${KEY[@]}" -keyout "$D/$1.key" -out "$D/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$D/$1.csr" -CA "$D/ca.crt" -CAkey "$D/ca.key" -CAcreateserial -out "$D/$1.crt" -days $DAYS \
        -extfile <(echo "subjectAltName=${3:-DNS:$1}") 2>/dev/null
}

make_kubeconfig() { # NAME SUBJECT SERVER
    make_certificate "$1" "$2"
    cat >"$D/$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {server: "$3", certificate-authority-data: $(base64 -w0 <"$D/ca.crt")}
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 <"$D/$1.crt")
    client-key-data: $(base64 -w0 <"$D/$1.key")
contexts:
- name: test
  context: {cluster: test, user: $1}
current-context: test
Y
}
