package program

// ServiceFlags are the options of a starter or worker that uses the Temporal
// service at an address, with the certificate in a file as the embedded engine
// writes it; "" is a service that asks for none.
func ServiceFlags(address, clientFile string) []string {
	flags := []string{"--address", address}
	if clientFile != "" {
		flags = append(flags, "--tls-cert-path", clientFile, "--tls-key-path", clientFile, "--tls-ca-path", clientFile)
	}
	return flags
}
