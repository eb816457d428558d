// Signs an artifact in a registry and verifies its signatures, as a program with notation-go does:
//
//	notation certificate DIRECTORY
//	notation sign|verify DIRECTORY REFERENCE [jws|cose]
//
// DIRECTORY holds the key, its certificate and the trust store. NOTATION_USER, NOTATION_PASSWORD and
// NOTATION_PLAIN_HTTP say how the registry is spoken to.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 2 && arguments[0] == "certificate" {
		return makeCertificate(arguments[1])
	}
	if len(arguments) < 3 {
		return errors.New("usage: notation certificate DIRECTORY | notation sign|verify DIRECTORY REFERENCE [jws|cose]")
	}
	command, directory, reference := arguments[0], arguments[1], arguments[2]
	repository, err := openRepository(reference)
	if err != nil {
		return err
	}
	// As the notation command does: what is signed and verified is always a digest.
	described, err := repository.Resolve(context.Background(), reference)
	if err != nil {
		return err
	}
	reference = name(reference) + "@" + described.Digest.String()
	if command == "verify" {
		return verify(directory, repository, reference)
	}
	mediaType := jws.MediaTypeEnvelope
	if len(arguments) > 3 && arguments[3] == "cose" {
		mediaType = cose.MediaTypeEnvelope
	}
	return sign(directory, repository, reference, mediaType)
}

func openRepository(reference string) (registry.Repository, error) {
	repository, err := remote.NewRepository(reference)
	if err != nil {
		return nil, err
	}
	repository.PlainHTTP = os.Getenv("NOTATION_PLAIN_HTTP") == "true"
	client := &auth.Client{Cache: auth.NewCache()}
	if user := os.Getenv("NOTATION_USER"); user != "" {
		client.Credential = auth.StaticCredential(repository.Reference.Registry, auth.Credential{
			Username: user,
			Password: os.Getenv("NOTATION_PASSWORD"),
		})
	}
	repository.Client = client
	return registry.NewRepository(repository), nil
}

func sign(directory string, repository registry.Repository, reference, mediaType string) error {
	keySigner, err := signer.NewGenericSignerFromFiles(keyFile(directory), certificateFile(directory))
	if err != nil {
		return err
	}
	described, err := notation.Sign(context.Background(), keySigner, repository, notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaType},
		ArtifactReference: reference,
	})
	if err != nil {
		return err
	}
	fmt.Println(described.Digest)
	return nil
}

func verify(directory string, repository registry.Repository, reference string) error {
	dir.UserConfigDir = directory
	policy := trustpolicy.Document{
		Version: "1.0",
		TrustPolicies: []trustpolicy.TrustPolicy{{
			Name:                  "test",
			RegistryScopes:        []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: trustpolicy.LevelStrict.Name},
			TrustStores:           []string{"ca:test"},
			TrustedIdentities:     []string{"*"},
		}},
	}
	storeVerifier, err := verifier.New(&policy, truststore.NewX509TrustStore(dir.ConfigFS()), nil)
	if err != nil {
		return err
	}
	described, outcomes, err := notation.Verify(context.Background(), storeVerifier, repository, notation.VerifyOptions{
		ArtifactReference:    reference,
		MaxSignatureAttempts: 50,
	})
	if err != nil {
		return err
	}
	fmt.Println(described.Digest, len(outcomes))
	return nil
}

// makeCertificate writes a key and a self-signed certificate that notation's rules accept, and trusts it.
func makeCertificate(directory string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "Drift test", Organization: []string{"Drift"}, Country: []string{"CH"}, Province: []string{"ZH"}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	store := filepath.Join(directory, "truststore", "x509", "ca", "test")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	files := map[string]*pem.Block{
		keyFile(directory):              {Type: "PRIVATE KEY", Bytes: encodedKey},
		certificateFile(directory):      {Type: "CERTIFICATE", Bytes: certificate},
		filepath.Join(store, "own.pem"): {Type: "CERTIFICATE", Bytes: certificate},
	}
	for path, block := range files {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// name is a reference without its tag or digest.
func name(reference string) string {
	parsed, err := orasregistry.ParseReference(reference)
	if err != nil {
		return reference
	}
	return parsed.Registry + "/" + parsed.Repository
}

func keyFile(directory string) string { return filepath.Join(directory, "notation.key") }

func certificateFile(directory string) string { return filepath.Join(directory, "notation.pem") }
