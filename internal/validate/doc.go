// Package validate tells everything about a file that can be known before anything is sent: what stands in it that the
// target will not take, how large it is, and how long a migration of it will take.
//
// It reads the file once, in constant memory. Its findings name lines and columns and never hold a value of a record.
package validate
