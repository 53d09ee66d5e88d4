package program

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// nextPort separates concurrent callers.
var nextPort atomic.Int64

// FreeAddresses returns local addresses with ports below the ephemeral range, so that
// nothing takes them while nothing listens: a killed program can listen there again.
func FreeAddresses(n int) ([]string, error) {
	var addresses []string
	for range 10000 {
		address := net.JoinHostPort("127.0.0.1", strconv.FormatInt(20000+(int64(os.Getpid())*37+nextPort.Add(1))%10000, 10))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			if addresses = append(addresses, address); len(addresses) == n {
				return addresses, nil
			}
		}
	}
	return nil, errors.New("no ports from 20000 to 30000 are free")
}
