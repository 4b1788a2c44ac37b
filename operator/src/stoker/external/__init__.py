"""The load of services, told to autoscalers that are not Stoker's: KEDA and HPAs."""
