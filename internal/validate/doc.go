// Package validate reports everything about a file that can be known before anything is sent: records that the target
// would refuse, the size of the file, and the expected duration of its migration.
//
// It reads the file once, in constant memory. Its findings name lines and columns and never contain a value of a record.
package validate
