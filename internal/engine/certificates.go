package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"durable-dataload/internal/durablefs"
)

// All listeners of the engine require a certificate of the folder's own authority.
// The authority's key and the clients' certificate are in the folder, accessible
// to its owner only; the server's certificate is made at each start and exists
// only in memory.
const (
	authorityFile = "ca.pem"
	clientFile    = "client.pem"
)

// The certificates do not expire. They are protected because only the owner can
// read their keys, and removing ca.pem revokes a stolen one at any time; an expiry
// would only stop an engine that runs for years, or one whose clock was set.
var (
	validFrom  = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC) // "no end" of RFC 5280
)

// ClientFile is the certificate of the engine's clients, with its key and the
// authority's certificate, all PEM: for the temporal tool and for workers in
// other processes, which take it as certificate, key and authority.
func ClientFile(dir string) string { return filepath.Join(dir, clientFile) }

// authority issues the certificates of one folder.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// certificates returns the TLS settings of the engine in dir, as server and as
// client of itself. It creates missing files: call it with the engine's lock held.
func certificates(dir string) (server, client *tls.Config, err error) {
	a, err := openAuthority(filepath.Join(dir, authorityFile))
	if err != nil {
		return nil, nil, err
	}
	client, err = clientTLS(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && !a.issued(client) {
		if err = a.writeClient(ClientFile(dir)); err == nil {
			client, err = clientTLS(dir)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	leaf, key, err := a.issue("durable-dataload engine", x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, nil, err
	}
	server = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   client.NextProtos,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    client.RootCAs,
	}
	return server, client, nil
}

// clientTLS returns the settings of a client of the engine in dir.
func clientTLS(dir string) (*tls.Config, error) {
	path := ClientFile(dir)
	text, err := durablefs.ReadOwn(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, unusable(path, err)
	}
	roots := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, unusable(path, err)
		}
		roots.AddCert(root)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2"},
		ServerName:   loopback,
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
	}, nil
}

// openAuthority reads the authority of a folder, or creates it.
func openAuthority(path string) (authority, error) {
	text, err := durablefs.ReadOwn(path)
	if errors.Is(err, os.ErrNotExist) {
		if text, err = newAuthority(); err == nil {
			err = durablefs.Create(path, text)
		}
	}
	if err != nil {
		return authority{}, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return authority{}, unusable(path, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return authority{}, unusable(path, errors.New("expected a certificate authority with an ECDSA key"))
	}
	return authority{pair.Leaf, key}, nil
}

// unusable is the error for a file that exists and cannot be used.
func unusable(path string, err error) error {
	return fmt.Errorf("%s cannot be used (%w); remove it, and the next start makes a new one", path, err)
}

func newAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template("durable-dataload authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	template.MaxPathLenZero = true
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return encode(key, der)
}

// issue makes a certificate for one use, and its key.
func (a authority) issue(name string, use x509.ExtKeyUsage) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	template := template(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{use}
	template.IPAddresses = []net.IP{net.ParseIP(loopback), net.IPv6loopback}
	template.DNSNames = []string{"localhost"}
	der, err = x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	return der, key, err
}

// issued reports whether a client has a certificate of this authority, and trusts
// it: not if one of the two files was restored or removed without the other.
func (a authority) issued(client *tls.Config) bool {
	chain := client.Certificates[0].Certificate
	return len(chain) == 2 && string(chain[1]) == string(a.certificate.Raw) &&
		client.Certificates[0].Leaf.CheckSignatureFrom(a.certificate) == nil
}

func (a authority) writeClient(path string) error {
	der, key, err := a.issue("durable-dataload client", x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	text, err := encode(key, der, a.certificate.Raw)
	if err != nil {
		return err
	}
	return durablefs.WriteFile(path, text)
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text()[:16])),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    validFrom,
		NotAfter:     validUntil,
	}
}

// encode returns a key and certificates as PEM, the key's own certificate first.
func encode(key *ecdsa.PrivateKey, certificates ...[]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return text, nil
}
