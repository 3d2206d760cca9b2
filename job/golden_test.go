package job_test

const (
	goldenIdentity = ""
	goldenDigest   = 0
	goldenKeyHash  = 0
)
