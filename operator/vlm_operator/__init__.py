"""The Kubernetes operator for VLMDeployment resources."""
