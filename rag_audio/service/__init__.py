"""What the API and the workers share: settings, who may use what, and the running of jobs."""
