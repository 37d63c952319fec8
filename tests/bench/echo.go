// SPDX-License-Identifier: MIT

// The echo server that a Go programmer would write: a goroutine for each client.
package main

import (
	"bufio"
	"log"
	"net"
	"os"
)

func serve(client net.Conn) {
	defer client.Close()
	reader := bufio.NewReader(client)
	for {
		line, err := reader.ReadBytes('\n')
		if _, failed := client.Write(line); err != nil || failed != nil {
			return
		}
	}
}

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(client)
	}
}
