"""What authors of plug-ins test them with. The product itself never imports it."""
