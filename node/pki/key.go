package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	pemCertificate = "CERTIFICATE"
	pemRequest     = "CERTIFICATE REQUEST"
	pemKey         = "PRIVATE KEY"
	pemECKey       = "EC PRIVATE KEY"
)

// NewKey makes a private key: ECDSA on P-256.
func NewKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// EncodeKey returns a private key as PEM (PKCS #8).
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return encodePEM(pemKey, der), nil
}

// ParseKey reads a private key from PEM (PKCS #8 or SEC 1): ECDSA on P-256 or
// ed25519. No error of it holds anything of the key.
func ParseKey(data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case pemKey:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case pemECKey:
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // tools put parameters before the key
		}
		if err != nil {
			return nil, errors.New("the private key is damaged")
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, errors.New("the private key cannot sign")
		}
		return signer, checkPublic(signer.Public())
	}
	return nil, errors.New("there is no private key in PEM form")
}

func checkPublic(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k != nil && k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return nil
		}
	}
	return errors.New("keys are ECDSA on P-256 or ed25519")
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// NewRequest is what a node that joins sends to be given a certificate: its name
// and public key, signed with the key to show that it has it. PEM (PKCS #10).
func NewRequest(name string, key crypto.Signer) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request of %s: %w", name, err)
	}
	return encodePEM(pemRequest, der), nil
}

// ParseRequest reads a request and checks its signature. Whatever else it asks
// for is ignored: what a certificate says is decided by who issues it.
func ParseRequest(data []byte) (name string, key crypto.PublicKey, err error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemRequest {
		return "", nil, errors.New("certificate request: it is not in PEM form")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := checkPublic(request.PublicKey); err != nil {
		return "", nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return "", nil, fmt.Errorf("certificate request: it is not signed with the key it names: %w", err)
	}
	if err := CheckName(request.Subject.CommonName); err != nil {
		return "", nil, fmt.Errorf("certificate request: %w", err)
	}
	return request.Subject.CommonName, request.PublicKey, nil
}

// parseCerts reads all certificates of a PEM file.
func parseCerts(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			if strings.Contains(block.Type, "PRIVATE KEY") {
				return nil, errors.New("a private key is where a certificate should be")
			}
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d is damaged: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate in PEM form")
	}
	return certs, nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
