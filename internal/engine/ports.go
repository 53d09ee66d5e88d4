package engine

import (
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// reservePorts returns n different free ports of the loopback address, reserved
// until release. The service opens its ports itself, and ends the process if one
// of them is taken, so no port may be lost between finding it and listening on it.
//
// A socket that is bound and does not listen reserves a port: Linux assigns it to
// no connection and to no other socket that asks for any port, but still lets this
// process listen on it, as both have SO_REUSEADDR. Other systems do not, so there
// the ports are released at once.
func reservePorts(n int) (ports []int, release func(), err error) {
	var sockets []int
	release = func() {
		for _, s := range sockets {
			_ = unix.Close(s)
		}
		sockets = nil
	}
	for range n {
		socket, port, err := bindAnyPort()
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("no free port on %s: %w", loopback, err)
		}
		sockets, ports = append(sockets, socket), append(ports, port)
	}
	if runtime.GOOS != "linux" {
		release()
	}
	return ports, release, nil
}

func bindAnyPort() (socket, port int, err error) {
	if socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		return 0, 0, err
	}
	unix.CloseOnExec(socket)
	address := &unix.SockaddrInet4{}
	copy(address.Addr[:], net.ParseIP(loopback).To4())
	err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(socket, address)
	}
	if err == nil {
		var bound unix.Sockaddr
		if bound, err = unix.Getsockname(socket); err == nil {
			return socket, bound.(*unix.SockaddrInet4).Port, nil
		}
	}
	_ = unix.Close(socket)
	return 0, 0, err
}
