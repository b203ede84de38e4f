package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// loginOptions translates librdkafka's properties into franz-go's options; one that it does not know is an error, not ignored.
func loginOptions(words []string) ([]kgo.Opt, error) {
	p := map[string]string{}
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if !found {
			return nil, fmt.Errorf("%q is not KEY=VALUE", word)
		}
		switch key {
		case "security.protocol", "sasl.mechanism", "sasl.username", "sasl.password", "oauthbearer.token",
			"ssl.ca.location", "ssl.certificate.location", "ssl.key.location":
			p[key] = value
		default:
			return nil, fmt.Errorf("%s is not known here", key)
		}
	}
	var options []kgo.Opt
	protocol := p["security.protocol"]
	if protocol == "SSL" || protocol == "SASL_SSL" {
		config, err := tlsConfig(p)
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	if strings.HasPrefix(protocol, "SASL_") {
		mechanism, err := mechanism(p)
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

func tlsConfig(p map[string]string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := p["ssl.ca.location"]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", file)
		}
	}
	if file := p["ssl.certificate.location"]; file != "" {
		pair, err := tls.LoadX509KeyPair(file, p["ssl.key.location"])
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func mechanism(p map[string]string) (sasl.Mechanism, error) {
	user, password := p["sasl.username"], p["sasl.password"]
	switch p["sasl.mechanism"] {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			return oauth.Auth{Token: p["oauthbearer.token"]}, nil
		}), nil
	}
	return nil, fmt.Errorf("no mechanism %q here", p["sasl.mechanism"])
}
